"""What the target lacks is told by `plan`, all of it at once, before anything is written; the cloud is only read."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openstack.connection import Connection

from restore_worker import restore
from restore_worker.errors import RefusedError
from restore_worker.hot import assemble
from restore_worker.plan import Finding, Severity
from restore_worker.stack import Heat
from restore_worker.stack_preview import refusals
from restore_worker.template import HeatResource, HeatTemplate
from tests.cloud.restoring import Restoring
from tests.cloud.small import PARAMETERS, Small
from tests.support import nodes

pytestmark = pytest.mark.disturbs

# What the small application needs, and so much of it the project may have no more.
_COMPUTE = {"instances": 1, "cores": 0, "ram": 64}
_VOLUME = {"volumes": 1, "gigabytes": 0, "volumes_standard": 0}
_NETWORK = {"network": 0, "subnet": 0, "port": 1, "router": 0}
_IMAGE = {"image_count_total": 0, "image_size_total": 0}


@contextmanager
def hardly_any_quota(admin: Connection, demo: Connection) -> Iterator[None]:
    """Let the project have next to nothing."""
    project = demo.current_project_id
    (glance,) = admin.identity.services(type="image")
    region = demo.config.get_region_name()
    sets = (
        (admin.compute, f"/os-quota-sets/{project}", {"quota_set": _COMPUTE}),
        (admin.block_storage, f"/os-quota-sets/{project}", {"quota_set": _VOLUME}),
        (admin.network, f"/quotas/{project}", {"quota": _NETWORK}),
    )
    limits = []
    try:
        for service, path, quotas in sets:
            answer = service.put(path, json=quotas)
            assert answer.ok, answer.text
        for name, limit in _IMAGE.items():
            given: dict[str, Any] = {"resource_name": name, "resource_limit": limit, "region_id": region}
            limits.append(admin.identity.create_limit(project_id=project, service_id=glance.id, **given))
        yield
    finally:
        for limit in limits:
            admin.identity.delete_limit(limit)
        for service, path, _ in sets:
            service.delete(path)


def mismatched(restoring: Restoring) -> tuple[Small, str]:
    """Return an application that the target lacks much for, and the id of its volume that has a backup."""
    application = restoring.small(servers=2, public=str(uuid.uuid4()))
    last = application.checkpoint.nodes[-1]
    last.metadata["server_metadata"] |= {"flavor": "no-such-flavor", "key_name": "nobody"}
    lost = nodes.volume(str(uuid.uuid4()), "lost", backup_id=str(uuid.uuid4()))
    checkpoint = dataclasses.replace(application.checkpoint, nodes=(lost, *application.checkpoint.nodes))
    return dataclasses.replace(application, checkpoint=checkpoint), lost.id


def places(problems: tuple[Finding, ...]) -> dict[tuple[str, str], Finding]:
    assert {each.severity for each in problems} == {Severity.ERROR}
    assert all(each.found and each.mend for each in problems)
    found = {(each.id, each.field): each for each in problems}
    assert len(found) == len(problems)
    return found


def test_everything_that_the_target_lacks_is_told_at_once(restoring: Restoring, admin, demo) -> None:
    application, lost = mismatched(restoring)
    first, last = (node.id for node in application.checkpoint.nodes[-2:])
    network = next(node.id for node in application.checkpoint.nodes if node.type == nodes.NETWORK)
    parameters = PARAMETERS | {
        "OS::Nova::Server": {"restore_availability_zone": "moon"},
        f"OS::Cinder::Volume#{application.volume}": {
            "restore_volume_type": "no-such-type",
            "restore_availability_zone": "moon",
        },
    }
    bank = restoring.bank(application)
    chosen: dict[str, Any] = {"bank": bank, "cloud": "demo", "parameters": parameters}
    with hardly_any_quota(admin, demo):
        told = places(restore.plan("latest", verify=False, **chosen).problems)
        try:
            restoring.restore("latest", **chosen)
        except RefusedError as error:
            refused = error.problems
    quotas = {
        "compute.instances": "the restore needs 2, but of 1 ",
        "compute.cores": "the restore needs 1, but of 0 ",
        "compute.ram": "the restore needs 128 MiB, but of 64 MiB ",
        "volume.volumes": "the restore needs 2, but of 1 ",
        "volume.volumes_standard": "the restore needs 1, but of 0 ",
        "volume.gigabytes": "the restore needs 1 GiB, but of 0 GiB ",
        "network.networks": "the restore needs 1, but of 0 ",
        "network.subnets": "the restore needs 1, but of 0 ",
        "network.ports": "the restore needs 3, but of 1 ",
        "network.routers": "the restore needs 1, but of 0 ",
        "image.image_count_total": "the restore needs 2, but of 0 ",
        "image.image_size_total": "the restore needs 2 MiB, but of 0 MiB ",
    }
    assert told.keys() == {
        (first, "restore_availability_zone"),
        (last, "restore_availability_zone"),
        (last, "flavor"),
        (last, "key_name"),
        (application.volume, "restore_volume_type"),
        (application.volume, "restore_availability_zone"),
        (lost, "backup_id"),
        (network, "public_network_id"),
        *(("", f"quota {name}") for name in quotas),
    }
    for name, words in quotas.items():
        assert told["", f"quota {name}"].found.startswith(words)
    assert "set restore_flavor_id to m1.small or m1.tiny" in told[last, "flavor"].mend
    assert refused == tuple(map(str, told.values()))
    assert restore.list_restores() == []


def test_what_has_everything_has_no_problems(restoring: Restoring) -> None:
    bank = restoring.bank(restoring.small())
    rendering = restore.plan("latest", bank=bank, cloud="demo", parameters=PARAMETERS, verify=False)
    assert rendering.problems == ()


def test_what_heat_refuses_is_told_with_resource_and_property() -> None:
    template = HeatTemplate()
    wrong = {"flavor": "no-such-flavor", "networks": [{"network": "public"}]}
    template.put_resource("web", HeatResource("OS::Nova::Server", {"name": "web", **wrong}))
    template.put_resource(
        "lan", HeatResource("OS::Neutron::Subnet", {"network": "no-such-net", "cidr": "10.0.0.0/8"})
    )
    template.put_resource("net", HeatResource("OS::Neutron::Net", {"name": "net"}))
    (hot,) = assemble(template.fragments, "a test")
    assert hot is not None
    told = list(refusals(hot, lambda part: Heat("demo").try_template(part, hot.values)))
    assert {(each.type, each.id, each.name, each.field) for each in told} == {
        ("OS::Nova::Server", "web", "web", "flavor"),
        ("OS::Neutron::Subnet", "lan", "", "network"),
    }
    assert {
        name for name in ("no-such-flavor", "no-such-net") if not any(name in each.found for each in told)
    } == set()
