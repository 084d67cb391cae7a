from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.server_definition import ServerDefinition
from restore_openstack.volume import VolumePlugin
from restore_worker import restore
from restore_worker.resource import ResourceKey
from tests.support import banks, nodes
from tests.support.banks import BankCheckpoint, Node
from tests.support.fakes import FakeReport, FakeSelection, FakeTarget, Rendering, render
from tests.support.judge import judge
from tests.support.stub_cloud import StubCloud, stub_cloud

IMAGE = nodes.image("image-1", "ubuntu")
VOLUMES = [nodes.volume(f"volume-{n}", f"disk-{n}") for n in (1, 2, 3)]
SERVER_1 = ResourceKey(nodes.SERVER, "server-1")
NETWORK = nodes.network(
    "project-1",
    networks=[nodes.net("net-a", "a"), nodes.net("net-b", "b")],
    subnets=[
        nodes.subnet("subnet-a", "net-a", "10.0.1.0/24", "10.0.1.1"),
        nodes.subnet("subnet-b", "net-b", "10.0.2.0/24", "10.0.2.1"),
    ],
    routers=[nodes.router("router-1", "edge", "external-1")],
    groups=[
        nodes.group("group-web", "web"),
        nodes.group("group-twin-1", "twin"),
        nodes.group("group-twin-2", "twin"),
    ],
    ports=[
        nodes.port(
            "port-router",
            "net-a",
            {"subnet-a": "10.0.1.1"},
            device_id="router-1",
            device_owner="network:router_interface",
        ),
        nodes.port(
            "port-1",
            "net-a",
            {"subnet-a": "10.0.1.11"},
            device_id="server-1",
            device_owner="compute:nova",
            security_groups=["group-web"],
        ),
        nodes.port(
            "port-0",
            "net-b",
            {"subnet-b": "10.0.2.11"},
            device_id="server-1",
            device_owner="compute:nova",
            mac_address="fa:16:3e:00:00:02",
        ),
    ],
)
INTERFACE = "router_interface_interface_router-1_subnet-a"


def server(boot: str = "image-1", *, volumes: Sequence[str] = (), root: bool = True, **fields: Any) -> Node:
    """Return server-1: it boots from an image or, if that is what ``boot`` names, from a volume."""
    from_volume = boot.startswith("volume")
    return nodes.server(
        "server-1", "web-1", boot=boot, from_volume=from_volume, data_volumes=volumes, root=root, **fields
    )


def chosen(
    made: Node,
    children: Sequence[Node] = (IMAGE,),
    others: Sequence[Node] = (),
    parameters: Mapping[str, Any] | None = None,
    **network: str,
) -> FakeSelection:
    """Return a selection of server-1, what the graph says it depends on, and other nodes."""
    return FakeSelection(
        [ServerPlugin(), VolumePlugin(), ImagePlugin(), NetworkPlugin()],
        [*children, *others, made],
        {made.key: [child.key for child in children]},
        {str(SERVER_1): parameters or {}, nodes.NETWORK: network},
    )


def judged(selection: FakeSelection) -> tuple[Rendering, dict[str, Any]]:
    """Return what becomes of it, and the server's properties, once Heat has accepted the template."""
    result = render(selection)
    assert result.problems == []
    judge(result.hot.text)
    return result, dict(result.fragments["server-1"].properties)


def told(result: Rendering, field: str) -> str:
    """Return what was told about one field of the server, findings or problems."""
    both = (*result.findings, *result.problems)
    return " | ".join(each.text for each in both if each.id == "server-1" and each.field == field)


def attachments(result: Rendering) -> list[str]:
    """Return the volumes in the order in which they are attached."""
    links = {
        fragment.depends_on[0]["get_resource"] if fragment.depends_on else "": fragment
        for fragment in result.fragments.values()
        if fragment.type == "OS::Cinder::VolumeAttachment"
    }
    order, before = [], ""
    while before in links:
        volume = links[before].properties["volume_id"]["get_resource"]
        order.append(volume.removeprefix("volume_"))
        before = f"volume_attachment_attachment_server-1_{order[-1]}"
    assert len(order) == len(links)
    return order


# Names and other plain properties


def test_a_server_comes_back_as_it_was():
    _, properties = judged(chosen(server(flavor="1e3", key_name="ops")))
    assert properties == {
        "name": "web-1",
        "flavor": "1e3",
        "image": {"get_param": "p_image_image-1"},
        "key_name": "ops",
        "user_data_format": "RAW",
        "networks": [{"allocate_network": "none"}],
    }


def test_parameters_say_what_to_change():
    given = {
        "restore_name": "no",
        "restore_flavor_id": "7",
        "restore_key_name": "mine",
        "restore_availability_zone": "az2",
    }
    result, properties = judged(chosen(server(key_name="ops"), parameters=given))
    assert properties["name"] == "no"
    assert (properties["flavor"], properties["key_name"]) == ("7", "mine")
    assert properties["availability_zone"] == "az2"
    assert told(result, "key_name") == told(result, "availability_zone") == ""


def test_zone_and_key_that_may_not_fit_are_told():
    result, properties = judged(chosen(server(key_name="ops", availability_zone="az1")))
    assert "availability_zone" not in properties
    assert "'az1'" in told(result, "availability_zone")
    assert "'ops'" in told(result, "key_name")
    result, properties = judged(chosen(server(key_name="ops"), parameters={"restore_key_name": ""}))
    assert "key_name" not in properties
    assert told(result, "key_name") == ""


def test_a_server_without_a_name_is_named_by_heat_and_that_is_told():
    result, properties = judged(chosen(replace(server(), name=None)))
    assert "name" not in properties
    assert told(result, "name")


@pytest.mark.parametrize("field", ["flavor", "key_name", "availability_zone"])
@pytest.mark.parametrize("value", [{"get_file": "/etc/passwd"}, ["x"], 5, True])
def test_text_in_the_bank_is_text(field, value):
    with pytest.raises(ValidationError, match=rf"server_metadata\.{field}"):
        ServerDefinition.model_validate(server(**{field: value}).metadata)


def test_nulls_are_nothing():
    nulls = {"key_name": None, "availability_zone": None, "security_groups": None, "networks": None}
    _, properties = judged(chosen(server(**nulls, floating_ips=None)))
    assert properties.keys() == {"name", "flavor", "image", "user_data_format", "networks"}


# Disks


def test_data_volumes_are_attached_in_the_order_of_their_devices():
    made = server(volumes=["volume-1", "volume-2", "volume-3"])
    for volume, device in (("volume-1", "/dev/vdaa"), ("volume-2", "/dev/vdz"), ("volume-3", "/dev/vdb")):
        made.metadata["attach_metadata"][volume]["device"] = device
    result, properties = judged(chosen(made, [IMAGE, *VOLUMES]))
    assert attachments(result) == ["volume-3", "volume-2", "volume-1"]
    assert "block_device_mapping_v2" not in properties


def test_a_server_boots_from_its_volume_and_gets_the_others_attached():
    result, properties = judged(chosen(server("volume-2", volumes=["volume-1"]), VOLUMES[:2]))
    assert properties["block_device_mapping_v2"] == [
        {"volume_id": {"get_param": "p_volume_volume-2"}, "boot_index": 0, "delete_on_termination": False}
    ]
    assert "image" not in properties
    assert attachments(result) == ["volume-1"]


def test_without_attachments_the_only_volume_boots():
    result, properties = judged(chosen(server("volume-1", root=False), VOLUMES[:1]))
    assert properties["block_device_mapping_v2"][0]["volume_id"] == {"get_param": "p_volume_volume-1"}
    assert told(result, "boot_volume_id") == ""


def test_without_attachments_the_first_of_several_boots_and_that_is_told():
    made = server("volume-2", volumes=["volume-1", "volume-3"], root=False)
    selection = chosen(made, [VOLUMES[1], VOLUMES[0], VOLUMES[2]])
    result, properties = judged(selection)
    assert properties["block_device_mapping_v2"][0]["volume_id"] == {"get_param": "p_volume_volume-2"}
    assert attachments(result) == ["volume-1", "volume-3"]
    assert "volume-1, volume-3" in told(result, "boot_volume_id")


def test_the_user_may_say_which_volume_boots():
    made = server("volume-2", volumes=["volume-1"], root=False)
    result, properties = judged(chosen(made, VOLUMES[:2], parameters={"boot_volume_id": "volume-1"}))
    # It is the volume that is built to be bootable, too.
    assert properties["block_device_mapping_v2"][0]["volume_id"] == {"get_param": "p_volume_volume-1"}
    assert attachments(result) == ["volume-2"]
    assert told(result, "boot_volume_id") == ""
    refused = render(chosen(made, VOLUMES[:2], parameters={"boot_volume_id": "volume-9"}))
    assert "volume-9" in told(refused, "boot_volume_id")
    assert refused.hot is None


@pytest.mark.parametrize(
    ("bootable", "devices", "boots", "guessed"),
    [
        (["false", "true"], [None, None], "volume-2", False),
        (["true", "true"], ["/dev/vdb", "/dev/vda"], "volume-2", False),
        (["false", "false"], ["/dev/vdb", "/dev/vda"], "volume-2", False),
        (["true", "true"], [None, None], "volume-1", True),
    ],
)
def test_attachments_tell_what_boots_if_karbor_did_not(bootable, devices, boots, guessed):
    made = server("volume-1", volumes=["volume-2"])
    del made.metadata["boot_metadata"]["boot_volume_id"]
    for volume, flag, device in zip(VOLUMES, bootable, devices, strict=False):
        made.metadata["attach_metadata"][volume.id] |= {"bootable": flag, "device": device}
    result, properties = judged(chosen(made, VOLUMES[:2]))
    assert properties["block_device_mapping_v2"][0]["volume_id"] == {"get_param": f"p_volume_{boots}"}
    assert bool(told(result, "boot_volume_id")) is guessed


def test_a_boot_volume_that_is_not_in_the_checkpoint_is_a_problem():
    result = render(chosen(server("volume-1", volumes=["volume-2"]), VOLUMES[1:2]))
    assert "volume-1" in told(result, "boot_volume_id")
    assert "volume-2" in told(result, "boot_volume_id")
    assert render(chosen(server("volume-1"), [])).problems[0].field == "boot_volume_id"


def test_an_attached_volume_that_is_not_in_the_checkpoint_is_told():
    result, _ = judged(chosen(server(volumes=["volume-1", "volume-2"]), [IMAGE, VOLUMES[0]]))
    assert attachments(result) == ["volume-1"]
    assert "volume-2 (/dev/vdc)" in told(result, "attach_metadata")


def test_an_image_that_is_not_in_the_checkpoint_is_told():
    result, properties = judged(chosen(server(), []))
    assert properties["image"] == "image-1"
    assert "image-1" in told(result, "image")


@pytest.mark.parametrize(
    ("snapshot_of", "text"),
    [("server-1", ""), ("server-9", "disk of server server-9"), (None, "is not in the bank")],
)
def test_whose_disk_the_image_holds_is_told(snapshot_of, text):
    image = nodes.image("image-1", server_id=snapshot_of)
    result, _ = judged(chosen(server(), [image]))
    assert text in told(result, "image")
    assert bool(told(result, "image")) is bool(text)


def test_volumes_whose_devices_are_unknown_may_change_places():
    made = server(volumes=["volume-1", "volume-2"], root=False)
    result, _ = judged(chosen(made, [IMAGE, *VOLUMES[:2]]))
    assert "volume-1, volume-2" in told(result, "attach_metadata")
    known, _ = judged(chosen(server(volumes=["volume-1", "volume-2"]), [IMAGE, *VOLUMES[:2]]))
    assert told(known, "attach_metadata") == ""


@pytest.mark.parametrize("name", ["restore_name", "restore_flavor_id", "restore_availability_zone"])
def test_an_empty_text_takes_the_place_of_nothing(name):
    with pytest.raises(ValidationError, match=name):
        render(chosen(server(), parameters={name: ""}))


def test_devices_as_text_are_read_as_before_2017():
    made = server(volumes=["volume-1", "volume-2"])
    made.metadata["attach_metadata"] = {"volume-1": "/dev/vdc", "volume-2": "/dev/vdb", "volume-3": None}
    result, _ = judged(chosen(made, [IMAGE, *VOLUMES]))
    assert attachments(result) == ["volume-2", "volume-1", "volume-3"]


def test_server_snapshots_from_before_2017_are_refused():
    made = server()
    made.metadata.update(snapshot_id="snapshot-1", snapshot_metadata={"disk_format": "qcow2"})
    del made.metadata["boot_metadata"]
    (problem,) = render(chosen(made, [])).problems
    assert (problem.field, "2017" in problem.text) == ("metadata.snapshot_id", True)


# Networks


def test_a_server_gets_its_ports_in_the_order_of_its_networks():
    made = server(networks=["net-a", "net-b"], security_groups=[{"name": "web"}])
    result, properties = judged(chosen(made, others=[NETWORK]))
    assert properties["networks"] == [
        {"port": {"get_resource": "port_port-1"}},
        {"port": {"get_resource": "port_port-0"}},
    ]
    # Groups are on the ports; on the server they would be a conflict.
    assert "security_groups" not in properties
    port = result.fragments["port-1"]
    assert port.properties["security_groups"] == [{"get_resource": "security_group_group-web"}]


def test_a_server_waits_for_the_way_out_of_its_networks():
    made = server(networks=["net-a", "net-b"])
    result, _ = judged(chosen(made, others=[NETWORK]))
    assert result.fragments["server-1"].depends_on == ({"get_resource": INTERFACE},)
    result, _ = judged(chosen(made, others=[NETWORK], networks="existing"))
    assert result.fragments["server-1"].depends_on == ()


def test_the_network_node_is_implied_by_ports_and_by_networks():
    for made in (server(), replace(server(networks=["net-b"]), id="server-9")):
        selection = chosen(made, others=[NETWORK])
        assert NETWORK.key in [child.key for child in selection.children(made.key)]
    stranger = replace(server(networks=["net-z"]), id="server-9")
    assert NETWORK.key not in [child.key for child in chosen(stranger, others=[NETWORK]).children(stranger.key)]


def test_a_server_alone_brings_its_network_along():
    made = server(networks=["net-a", "net-b"])
    selection = FakeSelection(
        [ServerPlugin(), VolumePlugin(), ImagePlugin(), NetworkPlugin()],
        [*VOLUMES, IMAGE, NETWORK, made],
        {made.key: [IMAGE.key]},
        {nodes.NETWORK: {"networks": "existing"}},
        chosen=[IMAGE.key, made.key],
    )
    result, _ = judged(selection)
    assert result.fragments["net-a"].value == "net-a"
    assert "volume-1" not in result.fragments


@pytest.mark.parametrize("networks", ["new", "existing"])
def test_networks_without_a_port_in_the_bank(networks):
    groups = [{"name": "web"}, {"name": "web"}, {"name": "twin"}, {"name": "gone"}]
    made = replace(server(networks=["net-a", "net-z"], security_groups=groups), id="server-9")
    result = render(chosen(made, others=[NETWORK], networks=networks))
    judge(result.hot.text)
    properties = result.fragments["server-9"].properties
    kind, prefix = ("get_param", "p_") if networks == "existing" else ("get_resource", "")
    assert properties["networks"] == [{"network": {kind: f"{prefix}net_net-a"}}, {"network": "net-z"}]
    web = {kind: f"{prefix}security_group_group-web"}
    assert properties["security_groups"] == [web, "twin", "gone"]
    texts = [each.text for each in result.findings if each.id == "server-9"]
    assert any("net-z is not restored" in text for text in texts)
    assert any("'twin': 2 groups" in text for text in texts)
    assert any("'gone': it is not restored" in text for text in texts)


def test_one_network_without_a_port_beside_others_with():
    made = server(networks=["net-z", "net-a"], security_groups=[{"name": "web"}])
    result, properties = judged(chosen(made, others=[NETWORK]))
    assert properties["networks"][:2] == [{"network": "net-z"}, {"port": {"get_resource": "port_port-1"}}]
    assert "security_groups" not in properties
    assert "default security group" in told(result, "networks")


def test_a_given_network_takes_the_place_of_all_others():
    made = server(networks=["net-a", "net-b"], security_groups=[{"name": "web"}], floating_ips=["203.0.113.5"])
    given = {"restore_net_id": "net-t"}
    result, properties = judged(chosen(made, others=[NETWORK], parameters=given))
    assert properties["networks"] == [{"network": "net-t"}]
    assert properties["security_groups"] == [{"get_resource": "security_group_group-web"}]
    assert {"port-0", "port-1"}.isdisjoint(result.fragments)
    assert "net-t" in told(result, "networks")
    assert "203.0.113.5" in told(result, "floating_ips")


def test_groups_come_along_with_a_network_that_only_another_server_brings():
    made = server(networks=["net-a"], security_groups=[{"name": "web"}])
    other = nodes.server("server-2", boot="image-1", networks=["net-b"])
    selection = FakeSelection(
        [ServerPlugin(), VolumePlugin(), ImagePlugin(), NetworkPlugin()],
        [IMAGE, NETWORK, made, other, nodes.volume("volume-1")],
        {made.key: [IMAGE.key], other.key: [IMAGE.key]},
        {str(SERVER_1): {"restore_net_id": "net-t"}, nodes.NETWORK: {"networks": "new"}},
        chosen=[IMAGE.key, made.key, other.key],
    )
    result, properties = judged(selection)
    assert properties["security_groups"] == [{"get_resource": "security_group_group-web"}]
    assert told(result, "security_groups") == ""


def test_the_planner_asks_again_once_a_network_came_along(tmp_path):
    """server-1 is asked first, and then nobody had brought the network yet."""
    made = server(networks=["net-a"], security_groups=[{"name": "web"}])
    other = nodes.server("server-2", boot="image-1", networks=["net-b"])
    edges = {made.key: (IMAGE.key,), other.key: (IMAGE.key,)}
    volume = nodes.volume("volume-1")
    banks.write(BankCheckpoint(nodes=(IMAGE, NETWORK, volume, made, other), edges=edges), tmp_path)
    planned = restore.plan(
        "latest",
        bank=tmp_path,
        resources=["server-1", "server-2"],
        parameters={str(SERVER_1): {"restore_net_id": "net-t"}, nodes.NETWORK: {"networks": "new"}},
    )
    assert planned.problems == ()
    assert [each for each in planned.findings if each.field == "security_groups"] == []


def test_a_given_network_does_not_bring_others_along():
    made = server(networks=["net-a", "net-b"], security_groups=[{"name": "web"}])
    selection = FakeSelection(
        [ServerPlugin(), VolumePlugin(), ImagePlugin(), NetworkPlugin()],
        [IMAGE, NETWORK, made],
        {made.key: [IMAGE.key]},
        {str(SERVER_1): {"restore_net_id": "net-a"}},
        chosen=[IMAGE.key, made.key],
    )
    result, properties = judged(selection)
    assert not selection.chosen(NETWORK.key)
    assert properties["networks"] == [{"network": "net-a"}]
    assert properties["security_groups"] == ["web"]
    assert "'web'" in told(result, "security_groups")


# What is checked beforehand


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        stub.flavors |= {
            "1": {"id": "1", "name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1},
            "2": {"id": "2", "name": "m1.small", "vcpus": 2, "ram": 2048, "disk": 20},
        }
        stub.zones |= {"az1": True, "az2": False}
        stub.groups["default-1"] = {"id": "default-1", "name": "default"}
        yield stub


def problems(cloud: StubCloud, selection: FakeSelection) -> dict[str, str]:
    """Return what the check tells against the server, by field."""
    work, _ = selection.prepare(SERVER_1)
    report = FakeReport(SERVER_1.id)
    ServerPlugin().check(selection.resource(SERVER_1), work, FakeTarget(cloud.connect()), report)
    assert len({each.field for each in report.problems}) == len(report.problems)
    return {each.field: each.text for each in report.problems}


@pytest.mark.parametrize("flavor", ["2", "m1.small"])
def test_a_flavor_is_found_by_id_and_by_name(cloud, flavor):
    assert problems(cloud, chosen(server(flavor=flavor, networks=["net-a"]), others=[NETWORK])) == {}


def test_everything_that_is_missing_is_told_at_once_with_what_there_is(cloud):
    cloud.key_pairs.append("mine")
    cloud.networks |= {
        "net-t": {"id": "net-t", "name": "tenant", "router:external": False},
        "ext": {"id": "ext", "name": "public", "router:external": True},
    }
    made = server(flavor="m9.huge", key_name="ops", networks=["net-z"], security_groups=[{"name": "gone"}])
    given = {"restore_availability_zone": "az2"}
    told = problems(cloud, chosen(made, [], parameters=given))
    assert told.keys() == {
        *("flavor", "key_name", "restore_availability_zone", "image", "networks", "security_groups")
    }
    assert "'m9.huge': set restore_flavor_id to m1.small or m1.tiny" in told["flavor"]
    assert 'set restore_key_name to "" or mine' in told["key_name"]
    assert "openstack keypair create --public-key FILE ops" in told["key_name"]
    assert "'az2' in service: set restore_availability_zone to az1" in told["restore_availability_zone"]
    assert "image-1" in told["image"]
    assert "'net-z': set restore_net_id to net-t (tenant)" in told["networks"]
    assert "'gone'" in told["security_groups"]


def test_what_is_there_passes(cloud):
    cloud.key_pairs.append("ops")
    cloud.networks["net-t"] = {"id": "net-t", "name": "tenant", "router:external": False}
    cloud.images["image-1"] = {"id": "image-1", "status": "active", "tags": []}
    made = server(key_name="ops", networks=["net-z"], security_groups=[{"name": "default"}])
    given = {"restore_availability_zone": "az1:compute-7", "restore_net_id": "net-t", "restore_flavor_id": "1"}
    assert problems(cloud, chosen(made, [], parameters=given)) == {}
    cloud.images["image-1"]["status"] = "deactivated"
    assert "(deactivated)" in problems(cloud, chosen(made, [], parameters=given))["image"]


def test_a_server_claims_what_its_flavor_takes_and_a_port_that_nova_makes(cloud):
    cloud.networks["net-z"] = {"id": "net-z", "name": "tenant", "router:external": False}
    cloud.images["image-1"] = {"id": "image-1", "status": "active", "tags": []}
    made = chosen(server(flavor="2", networks=["net-z"]), [])
    target = FakeTarget(cloud.connect())
    ServerPlugin().check(made.resource(SERVER_1), made.prepare(SERVER_1)[0], target, FakeReport(SERVER_1.id))
    assert target.claims == {
        "compute.instances": 1,
        "compute.cores": 2,
        "compute.ram": 2048,
        "network.ports": 1,
    }


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"min_disk": 2}, "a disk of 1 GiB, and image image-1 needs 2 GiB"),
        ({"size": 2**30 + 1}, "a disk of 1 GiB, and image image-1 needs 2 GiB"),
        ({"min_ram": 513}, "512 MiB of RAM, and image image-1 needs 513 MiB"),
    ],
)
def test_an_image_of_the_target_must_fit_the_flavor(cloud, image, words):
    cloud.images["image-1"] = {"id": "image-1", "status": "active", "tags": [], **image}
    told = problems(cloud, chosen(server(flavor="1"), []))
    assert words in told["flavor"]
    assert "set restore_flavor_id to a larger one" in told["flavor"]
    assert problems(cloud, chosen(server(flavor="2"), [])) == {}


def test_a_flavor_without_a_disk_holds_any_image(cloud):
    cloud.images["image-1"] = {"id": "image-1", "status": "active", "tags": [], "min_disk": 99}
    cloud.flavors["2"]["disk"] = 0
    assert problems(cloud, chosen(server(flavor="2"), [])) == {}


def test_what_is_restored_with_the_server_need_not_be_there(cloud):
    made = server(networks=["net-a", "net-b"], security_groups=[{"name": "web"}])
    assert problems(cloud, chosen(made, others=[NETWORK])) == {}


def test_a_group_that_two_have_the_name_of_is_told(cloud):
    made = server(security_groups=[{"name": "default"}])
    # Nova knows those of others by their ids alone.
    cloud.groups["default-2"] = {"id": "default-2", "name": "default", "project_id": "another"}
    assert problems(cloud, chosen(made)) == {}
    cloud.groups["default-2"]["project_id"] = None
    assert "2 security groups named 'default'" in problems(cloud, chosen(made))["security_groups"]
