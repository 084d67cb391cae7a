"""Shares come back of their snapshots, through Heat and a Manila whose driver makes shares without bytes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from openstack.connection import Connection
from openstack.exceptions import HttpException

from restore_openstack.share import SharePlugin
from restore_worker.states import RestoreState
from tests.cloud.restoring import reach
from tests.support import banks, nodes
from tests.support.banks import BankCheckpoint, Node
from tests.support.fakes import FakeReport, FakeSelection, FakeTarget
from tests.support.processes import wait_until

SECONDS = 120


@dataclass(frozen=True)
class Protected:
    """A share and a snapshot of it, and the node that Karbor would save of them."""

    share: Any
    snapshot: Any

    @property
    def node(self) -> Node:
        return nodes.share(
            self.share.id,
            self.share.name,
            size=self.share.size,
            share_type="shares",
            share_network_id=None,
            snapshot_id=self.snapshot.id,
        )


@contextmanager
def protected(cloud: Connection, share_type: str = "shares") -> Iterator[Protected]:
    """Make a share that others may use, and a snapshot of it; both are deleted at the end."""
    manila = cloud.shared_file_system
    share = manila.create_share(
        share_protocol="NFS", size=1, name=f"reports-{uuid.uuid4().hex[:6]}", share_type=share_type
    )
    try:
        share = _available(lambda: manila.get_share(share.id))
        manila.create_access_rule(share.id, access_type="ip", access_to="10.0.0.0/24", access_level="rw")
        snapshot = manila.create_share_snapshot(share_id=share.id, name=share.name)
        try:
            yield Protected(share, _available(lambda: manila.get_share_snapshot(snapshot.id)))
        finally:
            manila.delete_share_snapshot(snapshot.id)
            await_end(manila.share_snapshots, snapshot.id)
    finally:
        manila.delete_share(share.id)
        await_end(manila.shares, share.id)


def await_end(things: Callable[[], Iterable[Any]], thing_id: str) -> None:
    """Wait until Manila lists the share or snapshot no more."""
    wait_until(lambda: thing_id not in {each.id for each in things()}, f"the end of {thing_id}", SECONDS)


def _available(look: Callable[[], Any]) -> Any:
    def seen() -> Any:
        now = look()
        assert now.status != "error", now
        return now if now.status == "available" else None

    return wait_until(seen, "a share or snapshot that is available", SECONDS)


def check(cloud: Connection, node: Node) -> FakeReport:
    """Return what the plugin tells of the cloud."""
    made, report = FakeSelection([SharePlugin()], [node]), FakeReport(node.id)
    work, _ = made.prepare(node.key)
    SharePlugin().check(made.resource(node.key), work, FakeTarget(cloud), report)
    return report


def test_a_share_comes_back_of_its_snapshot(worker, restoring, demo, tmp_path):
    worker(options=["--beat"])
    manila = demo.shared_file_system
    with protected(demo) as saved:
        # As long as there are snapshots Manila keeps the original: what comes back stands beside it.
        with pytest.raises(HttpException, match="dependent snapshot"):
            manila.delete_share(saved.share.id)
        checkpoint = BankCheckpoint(nodes=(saved.node,), project_id=str(demo.current_project_id))
        banks.write(checkpoint, tmp_path / "bank")
        submitted = restoring.restore(checkpoint.id, bank=tmp_path / "bank")
        reach(submitted, RestoreState.COMPLETE)
        (made,) = [each for each in submitted.belongings if each.original_id == saved.share.id]
        share = manila.get_share(made.id)
        assert made.id != saved.share.id
        assert (share.name, share.size, share.share_protocol) == (saved.share.name, 1, "NFS")
        assert (share.snapshot_id, share.share_type) == (saved.snapshot.id, saved.share.share_type)
        assert list(manila.access_rules(saved.share.id)) != []
        assert list(manila.access_rules(share.id)) == []
        outputs = {each["output_key"]: each["output_value"] for each in restoring.stack(submitted).outputs}
        paths = [each.path for each in manila.export_locations(share.id)]
        assert sorted(outputs[f"{saved.share.id}.export_locations"]) == sorted(paths)
        told = {each.field for each in submitted.findings if each.type == nodes.SHARE}
        assert {"access_rules", "export_locations"} <= told
        restoring.clean()
        await_end(manila.shares, share.id)


def test_what_manila_would_refuse_is_told_before(demo, admin):
    manila = admin.shared_file_system
    specs = {"driver_handles_share_servers": "False", "snapshot_support": "True"}
    share_type = {"share_type": {"name": f"plain-{uuid.uuid4().hex[:6]}", "extra_specs": specs}}
    made = manila.post("/types", json=share_type, microversion="2.24").json()["share_type"]
    try:
        with protected(demo, made["name"]) as saved:
            report = check(demo, saved.node)
            assert [each.field for each in report.problems] == ["snapshot_id"]
            assert f"type {made['name']} did not have" in report.problems[0].text
            # The bank says that it was of another type.
            assert [each.field for each in report.findings] == ["share_type"]
            strange = nodes.share(str(uuid.uuid4()), snapshot_id=str(uuid.uuid4()))
            assert [each.field for each in check(demo, strange).problems] == ["snapshot_id"]
    finally:
        manila.delete(f"/types/{made['id']}")
