"""What a site map makes of servers, volumes and images, beside flavors: names, zones, types, key pairs, images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.volume import VolumePlugin
from restore_worker.plan import Sites
from restore_worker.sitemap import SiteMap
from restore_worker.template import HeatTemplate
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeReport, FakeSelection, FakeTarget, Rendering, render
from tests.support.judge import judge
from tests.support.stub_cloud import stub_cloud

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPnH0sHxkYxG7hZ2bXb0jS8kqkq0mX9XrQ8n4V1S0n4T ops"
IMAGE = nodes.image("image-1", "ubuntu")
BACKUP = nodes.volume("volume-1", "db-data")
BYTES = nodes.volume_image("volume-2", "golden")
SNAPSHOT = nodes.volume("volume-3", "logs", snapshot_id="snapshot-1", size=20)


def server(number: int = 1, **fields: Any) -> Node:
    return nodes.server(f"server-{number}", f"web-{number}", boot="image-1", **{"key_name": "ops", **fields})


def selected(site_map: dict[str, Any], *made: Node, source: FakeTarget | None = None, **parameters: Any):
    """Return a selection of nodes; servers boot from the image if that is among them."""
    plugins = [ServerPlugin(), VolumePlugin(), ImagePlugin(), NetworkPlugin()]
    edges = {each.key: [IMAGE.key] for each in made if each.key.type == nodes.SERVER and IMAGE in made}
    sites = Sites(SiteMap.model_validate(site_map), None, source)
    given = {f"{made[-1].key}": parameters}
    return FakeSelection(plugins, made, edges, given, sites=sites)


def judged(selection: FakeSelection) -> tuple[Rendering, dict[str, Any]]:
    """Return what becomes of it, and the properties of the last node, once Heat has accepted the template."""
    result = render(selection)
    assert result.problems == []
    judge(result.hot.text)
    return result, dict(result.fragments[list(selection.nodes)[-1].id].properties)


def problem(selection: FakeSelection) -> str:
    """Return the one problem."""
    (told,) = render(selection).problems
    return told.text


def changed(selection: FakeSelection) -> dict[str, tuple[str | None, str | None, str]]:
    """Return what was changed by field of the last node, how, and by which rule."""
    last = list(selection.nodes)[-1].id
    return {each.field: (each.before, each.after, each.rule) for each in selection.changes if each.id == last}


def findings(result: Rendering) -> set[str]:
    return {told.field for told in result.findings}


def old_volumes(**types: str) -> FakeTarget:
    """Return a cloud with volumes of some types, by their id's number."""
    known = {f"volume-{key[1:]}": SimpleNamespace(volume_type=name, size=7) for key, name in types.items()}
    return FakeTarget(SimpleNamespace(block_storage=SimpleNamespace(get_volume=known.__getitem__)))


# Names


def test_names_follow_the_map():
    names = {"name": {"rules": [{"value": "web-(.*)", "to": r"dr-\1"}], "map": {"ubuntu": "debian"}}}
    selection = selected(names, IMAGE, BACKUP, server())
    result, properties = judged(selection)
    assert properties["name"] == "dr-1"
    assert changed(selection)["name"] == ("web-1", "dr-1", "name.rules[0]")
    assert result.fragments["image-1"].title == "debian"
    assert result.fragments["volume-1"].properties["name"] == "db-data"
    assert judged(selected(names, IMAGE, server(), restore_name="mine"))[1]["name"] == "mine"


def test_what_has_no_name_can_get_one():
    unnamed = nodes.volume("volume-1")
    selection = selected({"name": {"default": "nameless"}}, unnamed)
    result, properties = judged(selection)
    assert properties["name"] == "nameless"
    assert "name" not in findings(result)
    assert changed(selection)["name"] == (None, "nameless", "name.default")


# Zones


def test_zones_follow_the_map_and_are_no_finding_then():
    zones = {"zone": {"map": {"az1": "north", "nova": "south"}}}
    selection = selected(zones, IMAGE, server(availability_zone="az1"))
    result, properties = judged(selection)
    assert properties["availability_zone"] == "north"
    assert "availability_zone" not in findings(result)
    assert changed(selection)["availability_zone"] == ("az1", "north", "zone.map.az1")
    selection = selected(zones, BACKUP)
    assert selection.prepare(BACKUP.key)[0].availability_zone == "south"


@pytest.mark.parametrize(("policy", "zone"), [("default", None), ("same", "az1")])
def test_where_no_rule_speaks_of_a_zone_the_policy_holds(policy, zone):
    selection = selected({"zone": {"policy": policy}}, IMAGE, server(availability_zone="az1"))
    result, properties = judged(selection)
    assert properties.get("availability_zone") == zone
    assert "availability_zone" not in findings(result)
    expected = {} if zone else {"availability_zone": ("az1", None, "zone.policy default")}
    assert {name: each for name, each in changed(selection).items() if name == "availability_zone"} == expected


def test_a_zone_of_which_nothing_may_be_assumed_is_a_problem():
    asked = {"zone": {"policy": "fail"}}
    assert "zone 'az1'" in problem(selected(asked, IMAGE, server(availability_zone="az1")))
    assert "zone 'nova'" in problem(selected(asked, BACKUP))
    judged(selected(asked, IMAGE, server(availability_zone=None)))


# Volume types


def test_types_follow_rules_on_what_is_known_of_a_volume():
    types = {
        "volume_type": {"rules": [{"when": {"name": "db-.*"}, "to": "fast"}, {"value": "ssd.*", "to": "flash"}]}
    }
    work = selected(types, BACKUP).prepare(BACKUP.key)[0]
    assert (work.volume_type, work.direct) == ("fast", True)
    assert selected(types, BYTES).prepare(BYTES.key)[0].volume_type is None
    selection = selected(types, BYTES, source=old_volumes(v2="ssd-1"))
    assert selection.prepare(BYTES.key)[0].volume_type == "flash"
    assert changed(selection)["volume_type"] == ("ssd-1", "flash", "volume_type.rules[1]")
    by_size = {"volume_type": {"rules": [{"when": {"property": {"size": "7"}}, "to": "big"}]}}
    assert selected(by_size, BACKUP, source=old_volumes(v1="x")).prepare(BACKUP.key)[0].volume_type == "big"


def test_where_no_rule_speaks_of_a_type_the_policy_holds():
    source = old_volumes(v1="ssd")
    assert "--source-cloud" in problem(selected({"volume_type": {"policy": "same"}}, BACKUP))
    same = selected({"volume_type": {"policy": "same"}}, BACKUP, source=source)
    assert same.prepare(BACKUP.key)[0].volume_type == "ssd"
    assert "add one" in problem(selected({"volume_type": {"policy": "fail"}}, BACKUP))
    default = selected({"volume_type": {"policy": "default"}}, BACKUP, source=source)
    assert default.prepare(BACKUP.key)[0].volume_type is None
    assert changed(default)["volume_type"] == ("ssd", None, "volume_type.policy default")


def test_without_rules_on_types_the_source_is_not_asked():
    assert selected({}, BACKUP, source=FakeTarget(None)).prepare(BACKUP.key)[0].volume_type is None


def test_a_volume_of_a_snapshot_keeps_its_type_and_zone():
    site_map = {"volume_type": {"default": "fast", "policy": "fail"}, "zone": {"default": "north"}}
    selection = selected(site_map, SNAPSHOT)
    assert judged(selection)[1].keys() == {"name", "size", "snapshot_id"}
    assert changed(selection) == {}


def test_servers_may_share_a_volume_whose_type_the_map_gives():
    servers = [nodes.server(f"server-{n}", boot="image-1", data_volumes=["volume-1"]) for n in (1, 2)]
    for site_map, problems in (({}, 1), ({"volume_type": {"default": "shared"}}, 0)):
        sites = Sites(SiteMap.model_validate(site_map))
        edges = {each.key: [IMAGE.key, BACKUP.key] for each in servers}
        plugins = [ServerPlugin(), VolumePlugin(), ImagePlugin(), NetworkPlugin()]
        selection = FakeSelection(plugins, [IMAGE, BACKUP, *servers], edges, sites=sites)
        assert len(selection.prepare(BACKUP.key)[1].problems) == problems


# Key pairs


def test_key_pairs_follow_the_map():
    selection = selected({"key_pair": {"map": {"ops": "mine"}, "policy": "map"}}, IMAGE, server())
    result, properties = judged(selection)
    assert properties["key_name"] == "mine"
    assert "key_name" not in findings(result)
    assert changed(selection)["key_name"] == ("ops", "mine", "key_pair.map.ops")
    none = selected({"key_pair": {"default": "mine"}}, IMAGE, server(), restore_key_name="")
    assert "key_name" not in judged(none)[1]
    assert changed(none)["key_name"] == ("ops", "", "--parameter restore_key_name, over key_pair.default")


def test_a_key_pair_may_be_dropped_or_asked_for():
    dropped = selected({"key_pair": {"policy": "drop"}}, IMAGE, server())
    assert "key_name" not in judged(dropped)[1]
    assert changed(dropped)["key_name"] == ("ops", None, "key_pair.policy drop")
    assert "key pair 'ops'" in problem(selected({"key_pair": {"policy": "map"}}, IMAGE, server()))
    assert "public_keys" in problem(selected({"key_pair": {"policy": "create"}}, IMAGE, server()))
    judged(selected({"key_pair": {"policy": "map"}}, IMAGE, server(key_name=None)))


CREATE = {"key_pair": {"policy": "create", "public_keys": {"ops": KEY}}}


def test_a_key_pair_that_is_created_is_a_parameter_of_the_template():
    selection = selected(CREATE, IMAGE, server(), server(2))
    result, properties = judged(selection)
    assert properties["key_name"] == {"get_param": "p_key_pair_key_pair_server-2"}
    assert set(result.hot.open_parameters) >= {"p_key_pair_key_pair_server-1", "p_key_pair_key_pair_server-2"}
    assert changed(selection)["key_name"][2] == "key_pair.policy create"
    assert KEY in result.fragments["key_pair:server-2"].description


def test_a_key_pair_is_created_once_for_all_servers_and_deleted_with_them():
    made = [server(), server(2)]
    selection = selected(CREATE, IMAGE, *made)
    with stub_cloud() as cloud:
        contexts = [FakeContext(cloud=cloud.connect()) for _ in made]
        for each, context in zip(made, contexts, strict=True):
            template = HeatTemplate(render(selection).fragments.get)
            work = selection.prepare(each.key)[0]
            for _ in range(2):
                ServerPlugin().restore(selection.resource(each.key), work, template, context)
            assert template.get_physical_id(f"key_pair:{each.id}") == "ops-restore-1"
            assert context.made == {"key pair": "ops-restore-1"}
        assert cloud.key_pairs == ["ops-restore-1"]
        assert len([each for each in cloud.calls if each.startswith("POST")]) == 1
        # One that was made but not noted is found.
        again = FakeContext(cloud=cloud.connect())
        ServerPlugin().restore(
            selection.resource(made[0].key), work, HeatTemplate(render(selection).fragments.get), again
        )
        assert again.made == {"key pair": "ops-restore-1"}
        for each, context in zip(made, contexts, strict=True):
            ServerPlugin().discard(selection.resource(each.key), context.made, context)
        assert cloud.key_pairs == []


def test_a_key_pair_that_is_created_is_not_looked_for():
    work = selected(CREATE, IMAGE, server()).prepare(server().key)[0]
    report = FakeReport("server-1")
    with stub_cloud() as cloud:
        cloud.flavors = {work.flavor: {"id": work.flavor, "name": "m1.small"}}
        ServerPlugin().check(
            selected({}, server()).resource(server().key), work, FakeTarget(cloud.connect()), report
        )
    assert [each for each in report.problems if each.field == "key_name"] == []


# What the checkpoint does not hold


def test_an_image_that_the_checkpoint_lacks_is_looked_up_in_the_map():
    selection = selected({"image": {"map": {"image-1": "debian-13"}}}, server())
    result, properties = judged(selection)
    assert properties["image"] == "debian-13"
    assert "image" not in findings(result)
    assert changed(selection)["image"] == ("image-1", "debian-13", "image.map.image-1")
    held = selected({"image": {"map": {"image-1": "debian-13"}}}, IMAGE, server())
    assert judged(held)[1]["image"] == {"get_param": "p_image_image-1"}


def test_a_network_that_is_not_restored_is_looked_up_in_the_map():
    selection = selected({"network": {"map": {"net-1": "corp"}}}, IMAGE, server(networks=["net-1", "net-2"]))
    result, properties = judged(selection)
    assert properties["networks"] == [{"network": "corp"}, {"network": "net-2"}]
    (change,) = [each for each in selection.changes if each.type == "OS::Neutron::Net"]
    assert (change.id, change.before, change.after) == ("net-1", "net-1", "corp")
    told = [each.text for each in result.findings if each.field == "networks"]
    assert [("corp" in each, "net-2" in each) for each in told] == [(True, False), (False, True)]
