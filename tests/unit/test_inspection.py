"""A look at a target for a whole restore: however much there is to restore, so many requests it takes."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.volume import VolumePlugin
from restore_worker import cloud
from restore_worker.bank import Bank
from restore_worker.inspection import Inspection
from restore_worker.registry import Registry
from restore_worker.target import TargetCloud
from tests.support import nodes
from tests.support.fakes import FakeSelection
from tests.support.stub_cloud import StubCloud, stub_cloud

PLUGINS = (ServerPlugin(), VolumePlugin(), NetworkPlugin())
GIVEN = {
    nodes.SERVER: {"restore_availability_zone": "az1"},
    nodes.VOLUME: {"restore_volume_type": "ssd", "restore_availability_zone": "az1"},
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubCloud]:
    """Have a cloud with what the application needs, but none of its backups."""
    with stub_cloud() as stub:
        stub.flavors["1"] = {"id": "1", "name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1}
        stub.volume_types["type-1"] = {"id": "type-1", "name": "ssd"}
        stub.zones["az1"] = True
        stub.key_pairs.append("ops")
        stub.images["image-1"] = {"id": "image-1", "status": "active", "tags": []}
        absolute = {"maxTotalInstances": 10, "totalInstancesUsed": 4, "maxTotalCores": -1, "totalCoresUsed": 0}
        stub.quotas = {"compute": {"rate": [], "absolute": absolute}}
        monkeypatch.setattr(cloud, "connect", lambda _: stub.connect())
        yield stub


def inspected(site: StubCloud, size: int) -> tuple[Inspection, int]:
    """Look at the cloud for so many servers and volumes; return what came of it, and how many requests it took."""
    volumes = [nodes.volume(f"volume-{number}") for number in range(size)]
    servers = [
        nodes.server(f"server-{number}", boot="image-1", flavor="m1.tiny", key_name="ops")
        for number in range(size)
    ]
    made = FakeSelection(PLUGINS, [*volumes, *servers], {}, GIVEN)
    steps = [(made.resource(key), made.prepare(key)[0], None) for key in made.nodes]
    bank = cast("Bank", SimpleNamespace())
    inspection = Inspection(TargetCloud("stub", bank, "checkpoint-1"))
    registry = cast("Any", Registry(PLUGINS))
    before = len(site.calls)
    inspection.check_resources(steps, registry)
    inspection.check_quotas()
    return inspection, len(site.calls) - before


def test_a_thousand_resources_take_as_many_requests_as_a_few(site: StubCloud) -> None:
    # Once, openstacksdk asks which API there is.
    inspected(site, 1)
    few, asked = inspected(site, 2)
    many, asked_more = inspected(site, 500)
    assert asked == asked_more < 15
    assert (len(few.errors), len(many.errors)) == (2, 501)
    assert many.errors[0][:5] == ("error", nodes.VOLUME, "volume-0", many.errors[0].name, "backup_id")
    assert many.errors[-1].field == "quota compute.instances"
    assert many.errors[-1].found == "the restore needs 500, but of 10 the project has used 4"
