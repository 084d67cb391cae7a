"""A drill beside its living original, in the same project of a real cloud: it touches nothing, and goes by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection

from restore_worker import restore
from restore_worker.states import RestoreState
from tests.cloud import application, protect, record, removal
from tests.cloud.restoring import Restoring, reach
from tests.support.processes import wait_until

NAME = "living"
SERVER = "OS::Nova::Server"
# Long enough to look at the copy.
TTL = timedelta(seconds=90)
SECONDS = 300


def servers_of(cloud: Connection, network: str) -> set[str]:
    """Return the servers that have a port in a network."""
    return {each.device_id for each in cloud.network.ports(network_id=network) if each.device_id}


def left(cloud: Connection) -> list[str]:
    """Return the names of all that is there and begins as a drill's things do."""
    found = (
        *cloud.compute.servers(),
        *cloud.block_storage.volumes(),
        *cloud.image.images(),
        *(*cloud.network.networks(), *cloud.network.routers(), *cloud.network.security_groups()),
    )
    return [each.name for each in found if (each.name or "").startswith("drill-")]


def test_a_drill_touches_nothing_of_its_living_original_and_goes_after_its_time(
    worker: Any, restoring: Restoring, demo: Connection, cloud: Any, tmp_path: Path
) -> None:
    worker(options=["--beat"])
    files = cloud.site.data / "cinder" / "volumes"
    try:
        made = application.build(demo, NAME, files)
        scope = record.Scope(made.servers, made.volumes, made.networks)
        before = record.record(demo, files, scope)
        plan = protect.Plan(NAME, made.servers, (made.loose,), made.networks)
        protected = protect.protect(demo, plan, tmp_path, with_bytes=(made.data[0],))

        drill = restoring.restore(protected.checkpoint, bank=tmp_path, ttl=TTL)
        reach(drill, RestoreState.COMPLETE, SECONDS)
        ids = {each.original_id: each.id for each in drill.belongings if each.original_id}
        copies = scope.mapped(ids)
        assert (len(copies.servers), len(copies.volumes), len(copies.networks)) == (2, 6, 2)
        # Bytes are those that were saved, names begin with what tells them apart, and nothing leads in or out.
        copied = record.record(demo, files, copies)
        for volume in made.volumes:
            assert copied[ids[volume]].content == before[volume].content
        for server in made.servers:
            assert copied[ids[server]].name == f"drill-{before[server].name}"
            assert copied[ids[server]].floating_ips == frozenset()
        for network in made.networks:
            assert servers_of(demo, ids[network]).isdisjoint(servers_of(demo, network))
        routers = [each for each in demo.network.routers() if each.name.startswith("drill-")]
        assert [each.external_gateway_info for each in routers] == [None]
        assert record.record(demo, files, scope) == before

        wait_until(lambda: drill.status.state is RestoreState.DESTROYED, "the end of the drill", SECONDS)
        events = {each.name: each for each in restore.get(drill.id).watch() if each is not None}
        assert events["destroying"].time - events["complete"].time >= TTL
        assert left(demo) == []
        assert restoring.stack(drill) is None
        assert record.record(demo, files, scope) == before
        report = drill.report()
        assert report.seconds == pytest.approx(sum(each.seconds or 0 for each in report.phases[:5]), abs=1)
        assert {each.state.value for each in report.phases} >= {"restoring", "creating", "destroying"}
        assert all(each.seconds is not None for each in report.resources)
        assert {each.type for each in report.stack} >= {SERVER, "OS::Neutron::Net"}
    finally:
        restoring.clean()
        removal.remove(demo, NAME)
