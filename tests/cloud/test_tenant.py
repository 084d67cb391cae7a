"""A tenant of four and fifty servers is lost, and comes back in three stacks, though one of them failed: 12 minutes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from openstack.connection import Connection

from restore_worker import restore
from restore_worker.hot import Hot
from restore_worker.states import RestoreState
from tests.cloud import application, compare, protect, record, removal
from tests.cloud.application import Application
from tests.cloud.restoring import Restoring, reach, see
from tests.support.processes import wait_until

# Heat's limits are lowered for all.
pytestmark = pytest.mark.disturbs

SERVERS = 52
VOLUMES = 8


@contextlib.contextmanager
def a_tenant(restoring: Restoring, files, name: str) -> Iterator[Application]:
    """Give an application of two and fifty servers; all that bears its name is deleted at the end."""
    cloud = restoring.connection
    try:
        made = application.build(cloud, name, files)
        yield with_more(cloud, made, files)
    finally:
        restoring.clean()
        removal.remove(cloud, name)


def with_more(cloud: Connection, made: Application, files) -> Application:
    """Add servers, each with a port of its own, and to some of them a volume."""
    tiny = cloud.compute.find_flavor("m1.tiny").id
    group = cloud.network.find_security_group(f"{made.name}-web").id

    def server(number: int) -> str:
        name = f"{made.name}-{number}"
        port = cloud.network.create_port(name=name, network_id=made.networks[0], security_groups=[group])
        booted = cloud.compute.create_server(
            name=name, flavor_id=tiny, image_id=made.image, networks=[{"port": port.id}]
        )
        cloud.compute.wait_for_server(booted, wait=300)
        return str(booted.id)

    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(server, range(SERVERS)))
    volumes = [
        application.add_volume(cloud, f"{made.name}-{number}", each, files)
        for number, each in enumerate(servers[:VOLUMES])
    ]
    return replace(made, more=tuple(servers), more_volumes=tuple(volumes))


def backup_of(protected: protect.Protected, made: Application, hots: Sequence[Hot]) -> tuple[str, str]:
    """Return a volume that the second stack is to build, and its backup."""
    for volume in made.more_volumes:
        if f"volume_{volume}" in hots[1].text:
            return volume, protected.backups[volume]
    raise AssertionError("no volume is in the second stack")


def test_a_tenant_comes_back_in_several_stacks_though_one_of_them_failed(
    worker, restoring, demo, admin, cloud, tmp_path
) -> None:
    files = cloud.site.data / "cinder" / "volumes"
    name = "tenant"
    with a_tenant(restoring, files, name) as made:
        scope = record.Scope((*made.servers, *made.more), (*made.volumes, *made.more_volumes), made.networks)
        before = record.record(demo, files, scope)
        wanted = protect.Plan(name, scope.servers, (made.loose,), made.networks)
        protected = protect.protect(demo, wanted, tmp_path)
        removal.lose(demo, name)
        public = demo.network.find_network("public").id
        parameters = {"OS::Neutron::Network": {"networks": "new", "public_network_id": public}}
        with cloud.configured("heat", {"DEFAULT": {"max_resources_per_stack": 60}}):
            worker(options=["--beat"])
            planned = restore.plan(protected.checkpoint, bank=tmp_path, cloud="demo", parameters=parameters)
            assert planned.problems == ()
            assert sum(hot.resources for hot in planned.hots) >= 140
            assert [hot.resources <= 60 for hot in planned.hots] == [True] * 3
            # The first has what all share; the others need nothing of each other.
            assert [hot.waits_for for hot in planned.hots] == [(), (1,), (1,)]
            volume, backup = backup_of(protected, made, planned.hots)

            submitted = restoring.restore(protected.checkpoint, bank=tmp_path, parameters=parameters)
            see(submitted, lambda: submitted.status.state is RestoreState.CREATING, "creation", 300)
            admin.block_storage.reset_backup_status(backup, "error")
            reach(submitted, RestoreState.FAILED, 600)
            assert volume in submitted.status.reason or backup in submitted.status.reason
            statuses = {number: restoring.stack(submitted, number).status for number in (1, 2, 3)}
            assert statuses == {1: "CREATE_COMPLETE", 2: "CREATE_FAILED", 3: "CREATE_COMPLETE"}

            admin.block_storage.reset_backup_status(backup, "available")
            submitted.resume()
            reach(submitted, RestoreState.COMPLETE, 600)
            statuses = {number: restoring.stack(submitted, number).status for number in (1, 2, 3)}
            assert statuses == {1: "CREATE_COMPLETE", 2: "UPDATE_COMPLETE", 3: "CREATE_COMPLETE"}
            ids = {each.original_id: each.id for each in submitted.belongings if each.original_id}
            after = record.record(demo, files, scope.mapped(ids))
            assert compare.not_allowed(compare.compare(before, after, ids)) == []

            submitted.destroy()
            reach(submitted, RestoreState.DESTROYED, 600)
        assert [restoring.stack(submitted, number) for number in (1, 2, 3)] == [None] * 3
        assert not [each for each in demo.compute.servers() if each.name.startswith(name)]
        assert not [each for each in demo.network.networks() if each.name.startswith(name)]
        wait_until(
            lambda: not [each for each in demo.block_storage.volumes() if each.name.startswith(name)],
            "the end of the volumes",
            120,
        )
