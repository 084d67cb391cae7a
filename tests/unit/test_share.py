"""Shares: what Heat is told, what cannot be, and what is looked for in Manila, which is a stub here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restore_openstack.share import SharePlugin
from restore_worker.errors import CloudUnavailableError
from restore_worker.plugin import Produces
from restore_worker.restore import plan
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeReport, FakeSelection, FakeTarget, Rendering, render
from tests.support.judge import judge
from tests.support.sample_banks import ROOT
from tests.support.stub_cloud import StubCloud, stub_cloud

BANK = ROOT / "tests" / "banks" / "shares-and-db"
NODE = nodes.share("share-1", "reports")
SNAPSHOT = {"id": "snapshot-of-share-1", "share_id": "share-1", "size": 25, "status": "available"}
SOURCE = {
    "share_type": "type-1",
    "share_type_name": "gold",
    "share_network_id": "share-network-1",
    "create_share_from_snapshot_support": True,
}


def rendered(node: Node = NODE, **parameters: object) -> Rendering:
    return render(selection(node, **parameters))


def selection(node: Node, **parameters: object) -> FakeSelection:
    return FakeSelection([SharePlugin()], [node], {}, {nodes.SHARE: parameters})


# What Heat builds


def test_heat_has_manila_make_it_of_its_snapshot():
    result = rendered()
    assert judge(result.hot.text) == ["share_share-1"]
    assert result.produced == {NODE.key: Produces.RESOURCE}
    # Manila would refuse another type or network than those of the snapshot's share: it is told none.
    assert dict(result.fragments["share-1"].properties) == {
        "name": "reports",
        "share_protocol": "NFS",
        "size": 25,
        "snapshot": "snapshot-of-share-1",
    }
    assert "share-1.export_locations" in result.hot.text
    assert result.findings == []


def test_name_and_description_are_the_users():
    properties = rendered(restore_name="yes", restore_description="1e3").fragments["share-1"].properties
    assert (properties["name"], properties["description"]) == ("yes", "1e3")


def test_without_a_name_it_has_none():
    result = rendered(replace(NODE, name=None))
    assert "name" not in result.fragments["share-1"].properties
    judge(result.hot.text)


@pytest.mark.parametrize(
    ("saved", "told"), [("GLUSTERFS", "GlusterFS"), ("CIFS", "CIFS"), ("CEPHFS", "CEPHFS"), ("hdfs", "HDFS")]
)
def test_protocols_are_spelled_as_heat_does(saved, told):
    result = rendered(nodes.share("share-1", share_proto=saved))
    assert result.fragments["share-1"].properties["share_protocol"] == told
    judge(result.hot.text)


def test_a_protocol_that_heat_does_not_know_is_refused():
    (problem,) = rendered(nodes.share("share-1", share_proto="MAPRFS")).problems
    assert problem.field == "metadata.share_proto"
    assert "snapshot-of-share-1" in problem.text


def test_the_bank_that_karbor_wrote_makes_a_template():
    planned = plan("latest", bank=BANK, verify=False)
    assert planned.problems == ()
    assert {name.split("_")[0] for name in judge(planned.hots[0].text)} == {"share", "instance", "volume"}
    told = {each.field for each in planned.findings if each.type == nodes.SHARE}
    assert told >= {"data", "access_rules", "export_locations", "metadata", "is_public"}


# What is checked beforehand


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        put(stub)
        yield stub


def put(cloud: StubCloud, source: object = SOURCE, **snapshot: object) -> None:
    """Have Manila tell of the snapshot and its share."""
    cloud.others["share/v2/snapshots/detail"] = {"snapshots": [SNAPSHOT | snapshot]}
    cloud.others["share/v2/shares/share-1"] = {"share": source}


def check(cloud: StubCloud, node: Node = NODE) -> FakeReport:
    made, report = selection(node), FakeReport(node.id)
    work, _ = made.prepare(node.key)
    SharePlugin().check(made.resource(node.key), work, FakeTarget(cloud.connect()), report)
    return report


def problem(cloud: StubCloud) -> tuple[str, str]:
    (told,) = check(cloud).problems
    return told.field, told.text


def test_a_target_with_the_snapshot_passes(cloud):
    assert (check(cloud).problems, check(cloud).findings) == ([], [])


def test_one_that_is_not_in_the_list_is_asked_for(cloud):
    cloud.others["share/v2/snapshots/detail"] = {"snapshots": []}
    cloud.others["share/v2/snapshots/snapshot-of-share-1"] = {"snapshot": SNAPSHOT}
    assert check(cloud).problems == []


def test_a_snapshot_that_the_project_does_not_see_is_told(cloud):
    cloud.others["share/v2/snapshots/detail"] = {"snapshots": []}
    field, text = problem(cloud)
    assert field == "snapshot_id"
    assert "no share snapshot snapshot-of-share-1" in text


def test_a_snapshot_must_be_available(cloud):
    put(cloud, status="error")
    field, text = problem(cloud)
    assert field == "snapshot_id"
    assert "'error'" in text


def test_a_type_that_makes_no_shares_of_snapshots_is_told(cloud):
    put(cloud, SOURCE | {"create_share_from_snapshot_support": False})
    field, text = problem(cloud)
    assert field == "snapshot_id"
    assert "type gold did not have create_share_from_snapshot_support" in text
    assert "openstack share revert snapshot-of-share-1" in text


@pytest.mark.parametrize(
    ("moved", "field", "words"),
    [
        ({"share_type": "type-2", "share_type_name": "silver"}, "share_type", "has type silver by now"),
        ({"share_network_id": "share-network-2"}, "share_network_id", "on share network share-network-2"),
        ({"share_network_id": None}, "share_network_id", "on none"),
    ],
)
def test_a_share_that_was_moved_since_is_told(cloud, moved, field, words):
    put(cloud, SOURCE | moved)
    report = check(cloud)
    assert report.problems == []
    (finding,) = report.findings
    assert finding.field == field
    assert words in finding.text


def test_a_type_that_was_saved_by_name_is_the_same(cloud):
    assert check(cloud, nodes.share("share-1", share_type="gold")).findings == []


def test_a_manila_that_cannot_tell_of_the_share_stops_nothing(cloud):
    del cloud.others["share/v2/shares/share-1"]
    assert (check(cloud).problems, check(cloud).findings) == ([], [])


# What Heat would leave lying


@pytest.mark.parametrize(("status", "left"), [("error", False), ("available", True), ("deleting", True)])
def test_what_manila_could_not_make_is_cleared(cloud, status, left):
    share = "share/v2/shares/new-share"
    cloud.others[share] = {"share": {"id": "new-share", "status": status}}
    SharePlugin().clear("new-share", cloud.connect())
    assert (share in cloud.others) == left
    SharePlugin().clear("gone", cloud.connect())


def test_what_is_still_being_made_is_waited_for(cloud):
    cloud.others["share/v2/shares/new-share"] = {"share": {"id": "new-share", "status": "creating"}}
    with pytest.raises(CloudUnavailableError, match="new-share is still creating"):
        SharePlugin().clear("new-share", cloud.connect())
