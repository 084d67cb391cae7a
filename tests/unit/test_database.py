"""Database instances: what Heat is told, what cannot be, and what is looked for in Trove, which is a stub here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from restore_openstack.database import DatabasePlugin
from restore_openstack.share import SharePlugin
from restore_worker import cloud as clouds
from restore_worker.errors import CloudUnavailableError
from restore_worker.plan import Sites
from restore_worker.plugin import Produces
from restore_worker.sitemap import SiteMap
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeReport, FakeSelection, FakeTarget, Rendering, render
from tests.support.judge import judge
from tests.support.stub_cloud import StubCloud, stub_cloud
from tests.support.stub_identity import stub_identity, write_clouds
from tests.unit.test_share import NODE as SHARE

NODE = nodes.database("database-1", "ledger")
BACKUP = "database/v1.0/backups/backup-of-database-1"
FLAVORS = "database/v1.0/datastores/store-1/versions/version-1/flavors"


def selection(node: Node, **parameters: object) -> FakeSelection:
    return FakeSelection([DatabasePlugin()], [node], {}, {nodes.DATABASE: parameters})


def sited(site_map: dict[str, object], **parameters: object) -> FakeSelection:
    """Return a selection with a site map."""
    sites = Sites(SiteMap.model_validate(site_map))
    given = {nodes.DATABASE: parameters}
    return FakeSelection([DatabasePlugin()], [NODE], parameters=given, sites=sites)


def rendered(node: Node = NODE, **parameters: object) -> Rendering:
    return render(selection(node, **parameters))


# What Heat builds


def test_heat_has_trove_make_it_of_its_backup():
    result = rendered()
    assert judge(result.hot.text) == ["instance_database-1"]
    assert result.produced == {NODE.key: Produces.RESOURCE}
    assert dict(result.fragments["database-1"].properties) == {
        "name": "ledger",
        "flavor": "7",
        "size": 12,
        "restore_point": "backup-of-database-1",
        "datastore_type": "mysql",
        "datastore_version": "5.7.29",
    }
    assert [each.field for each in result.findings] == ["networks"]


def test_what_the_user_sets_is_what_heat_is_told():
    result = rendered(
        restore_name="yes",
        restore_flavor_id="1e3",
        restore_size="20",
        restore_datastore_version="8.0",
        restore_net_id="network-1",
        restore_availability_zone="az2",
    )
    judge(result.hot.text)
    assert dict(result.fragments["database-1"].properties) == {
        "name": "yes",
        "flavor": "1e3",
        "size": 20,
        "restore_point": "backup-of-database-1",
        "datastore_type": "mysql",
        "datastore_version": "8.0",
        "networks": [{"network": "network-1"}],
        "availability_zone": "az2",
    }
    assert result.findings == []


def test_without_a_name_heat_gives_it_one_and_that_is_told():
    result = rendered(replace(NODE, name=None))
    assert "name" not in result.fragments["database-1"].properties
    assert {each.field for each in result.findings} == {"name", "networks"}
    judge(result.hot.text)


def test_without_a_version_trove_chooses_one():
    judge(rendered(nodes.database("database-1", datastore={"type": "mysql", "version": None})).hot.text)


def test_what_is_too_large_for_heat_is_refused():
    large = nodes.database("database-1", size=200)
    (told,) = rendered(large).problems
    assert told.field == "metadata.size"
    assert "backup-of-database-1" in told.text
    assert rendered(large, restore_size=150).problems == []
    judge(rendered(large, restore_size=150).hot.text)
    assert [each.field for each in rendered(restore_size=151).problems] == ["restore_size"]


@pytest.mark.parametrize("given", [{"restore_size": 0}, {"restore_flavor_id": ""}, {"restore_net_id": "../x"}])
def test_what_makes_no_sense_is_no_parameter(given):
    with pytest.raises(ValidationError, match=next(iter(given))):
        rendered(**given)


def test_a_site_map_names_flavor_network_and_zone():
    site_map = {"flavor": {"map": {"7": "db.large"}}, "network": {"default": "blue"}, "zone": {"default": "az2"}}
    selection = sited(site_map)
    work, report = selection.prepare(NODE.key)
    assert (work.flavor, work.network, work.availability_zone) == ("db.large", "blue", "az2")
    assert report.findings == report.problems == []
    assert {each.field: each.rule for each in selection.changes} == {
        "flavor": "flavor.map.7",
        "networks": "network.default",
        "availability_zone": "zone.default",
    }
    work, _ = sited(
        site_map, restore_flavor_id="8", restore_net_id="net", restore_availability_zone="az1"
    ).prepare(NODE.key)
    assert (work.flavor, work.network, work.availability_zone) == ("8", "net", "az1")


# What is checked beforehand


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        version = {"id": "version-1", "name": "5.7.29"}
        store = {"id": "store-1", "name": "mysql", "versions": [version]}
        # A flavor's id is null unless it is a number.
        flavors = [
            {"id": 7, "str_id": "7", "name": "db.small"},
            {"id": None, "str_id": "f00-d", "name": "db.large"},
        ]
        stub.others |= {
            BACKUP: {"backup": {"id": "backup-of-database-1", "status": "COMPLETED", "size": 0.5}},
            "database/v1.0/datastores": {"datastores": [store]},
            "database/v1.0/flavors": {"flavors": flavors},
            FLAVORS: {"flavors": flavors},
        }
        yield stub


def problems(cloud: StubCloud, node: Node = NODE, **parameters: object) -> dict[str, str]:
    """Return what the check tells against the instance, by field."""
    made, report = selection(node, **parameters), FakeReport(node.id)
    work, _ = made.prepare(node.key)
    DatabasePlugin().check(made.resource(node.key), work, FakeTarget(cloud.connect()), report)
    assert report.findings == []
    return {each.field: each.text for each in report.problems}


def test_a_target_that_has_everything_passes(cloud):
    cloud.networks["network-1"] = {"id": "network-1", "name": "private", "router:external": False}
    cloud.zones["az2"] = True
    assert problems(cloud) == {}
    assert problems(cloud, nodes.database("database-1", datastore={"type": "mysql"})) == {}
    assert problems(cloud, restore_flavor_id="f00-d") == problems(cloud, restore_flavor_id="db.large") == {}
    assert problems(cloud, restore_net_id="network-1", restore_availability_zone="az2") == {}


def test_everything_that_is_missing_is_told_at_once_with_what_there_is(cloud):
    del cloud.others[BACKUP]
    cloud.networks["network-2"] = {"id": "network-2", "name": "private", "router:external": False}
    cloud.zones["az1"] = True
    told = problems(
        cloud,
        restore_flavor_id="9",
        restore_datastore_version="8.0",
        restore_net_id="network-1",
        restore_availability_zone="az2",
    )
    assert told.keys() == {
        "backup_id",
        "flavor",
        "datastore.version",
        "restore_net_id",
        "restore_availability_zone",
    }
    assert "no database backup backup-of-database-1" in told["backup_id"]
    assert "set restore_flavor_id to db.large or db.small" in told["flavor"]
    assert "set restore_datastore_version to 5.7.29" in told["datastore.version"]
    assert "set restore_net_id to network-2 (private)" in told["restore_net_id"]


def test_a_datastore_that_trove_does_not_have_is_told(cloud):
    told = problems(cloud, nodes.database("database-1", datastore={"type": "redis", "version": "3"}))
    assert told.keys() == {"datastore.type"}
    assert "no datastore 'redis', only mysql" in told["datastore.type"]


def test_a_backup_must_be_usable(cloud):
    cloud.others[BACKUP]["backup"]["status"] = "FAILED"
    assert "'FAILED'" in problems(cloud)["backup_id"]
    cloud.others[BACKUP]["backup"]["status"] = "RESTORED"
    assert problems(cloud) == {}


def test_a_backup_must_fit(cloud):
    cloud.others[BACKUP]["backup"]["size"] = 12.5
    assert "12.5 GiB: 12 GiB are too few" in problems(cloud)["restore_size"]
    assert problems(cloud, restore_size=13) == {}


def test_a_flavor_must_be_one_of_those_for_the_datastore(cloud):
    cloud.others[FLAVORS] = {"flavors": [{"id": 8, "str_id": "8", "name": "db.other"}]}
    assert "set restore_flavor_id to db.other" in problems(cloud)["flavor"]


@pytest.mark.parametrize(
    ("plugin", "node", "field"),
    [(DatabasePlugin(), NODE, "backup_id"), (SharePlugin(), SHARE, "snapshot_id")],
    ids=["Trove", "Manila"],
)
def test_a_target_without_the_service_is_told(plugin, node, field, tmp_path, monkeypatch):
    with stub_identity() as stub:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds(tmp_path / "clouds.yaml", stub=stub.entry())))
        monkeypatch.setattr(clouds, "_connections", {})
        made, report = FakeSelection([plugin], [node]), FakeReport(node.id)
        work, _ = made.prepare(node.key)
        plugin.check(made.resource(node.key), work, FakeTarget(clouds.connect("stub")), report)
    assert [each.field for each in report.problems] == [field]
    assert "the target has no" in report.problems[0].text


# What Heat would leave lying


@pytest.mark.parametrize(("status", "left"), [("ERROR", False), ("FAILED", False), ("ACTIVE", True)])
def test_what_trove_could_not_make_is_cleared(cloud, status, left):
    instance = "database/v1.0/instances/new-instance"
    cloud.others[instance] = {"instance": {"id": "new-instance", "status": status}}
    DatabasePlugin().clear("new-instance", cloud.connect())
    assert (instance in cloud.others) == left
    DatabasePlugin().clear("gone", cloud.connect())


def test_what_is_still_being_made_is_waited_for(cloud):
    cloud.others["database/v1.0/instances/new-instance"] = {"instance": {"id": "new-instance", "status": "BUILD"}}
    with pytest.raises(CloudUnavailableError, match="new-instance is still being built"):
        DatabasePlugin().clear("new-instance", cloud.connect())
