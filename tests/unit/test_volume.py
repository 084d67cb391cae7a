from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from pydantic import ValidationError

from restore_openstack.image import ImagePlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.volume import VolumeDefinition, VolumePlugin
from restore_worker.errors import CloudError, DamagedDataError
from restore_worker.plugin import BankData, Produces, StillBuilding
from restore_worker.template import HeatParameter, HeatTemplate
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeSelection, Rendering, render
from tests.support.judge import judge
from tests.support.stub_cloud import StubCloud, stub_cloud

BACKUP = nodes.volume("volume-1", "db-data")
SNAPSHOT = nodes.volume("volume-1", "db-data", snapshot_id="snapshot-1", size=20)
DATA = b"\0" * 70_000
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
BYTES = nodes.volume_image("volume-1", "golden", DATA)
OF_VOLUME = "OS::Cinder::Volume#volume-1"


def selection(*made: Node, edges=None, parameters=None) -> FakeSelection:
    plugins = [ServerPlugin(), VolumePlugin(), ImagePlugin()]
    return FakeSelection(plugins, made, edges or {}, {OF_VOLUME: parameters or {}})


def rendered(node: Node, **parameters: object) -> Rendering:
    return render(selection(node, parameters=parameters))


def properties(node: Node, **parameters: object) -> dict[str, object]:
    """Return the properties of the one volume that Heat builds."""
    result = rendered(node, **parameters)
    judge(result.hot.text)
    return dict(result.fragments["volume-1"].properties)


def fields(told) -> set[str]:
    return {each.field for each in told}


def booting(node: Node, **server: object) -> dict[str, object]:
    """Return what to select for a server that boots from the volume."""
    booted = nodes.server("server-1", "db-1", boot=node.id, from_volume=True, **server)
    return {"made": (node, booted), "edges": {booted.key: [node.key]}}


# What Heat builds


def test_a_backup_comes_back_through_heat():
    assert properties(BACKUP) == {"name": "db-data", "backup_id": "backup-of-volume-1"}
    assert rendered(BACKUP).produced == {BACKUP.key: Produces.RESOURCE}


def test_a_name_and_a_description_go_through_heat_too():
    given = {"restore_name": "yes", "restore_description": "1e3"}
    assert properties(BACKUP, **given) == {
        "name": "yes",
        "description": "1e3",
        "backup_id": "backup-of-volume-1",
    }


def test_a_snapshot_comes_back_through_heat_with_all_that_is_asked():
    assert properties(SNAPSHOT) == {"name": "db-data", "snapshot_id": "snapshot-1", "size": 20}
    given = {"restore_volume_type": "ssd", "restore_availability_zone": "az2", "restore_size": "30"}
    assert properties(SNAPSHOT, **given) == {
        "name": "db-data",
        "snapshot_id": "snapshot-1",
        "size": 30,
        "volume_type": "ssd",
        "availability_zone": "az2",
    }
    assert "volume_type" in fields(rendered(SNAPSHOT, **given).findings)


def test_a_volume_without_a_name_is_named_by_heat_and_that_is_told():
    nameless = replace(BACKUP, name="")
    assert "name" not in properties(nameless)
    assert "name" in fields(rendered(nameless).findings)


def test_the_original_zone_is_told():
    assert "availability_zone" in fields(rendered(BACKUP).findings)
    assert "availability_zone" not in fields(rendered(BACKUP, restore_availability_zone="az2").findings)
    assert "availability_zone" not in fields(rendered(SNAPSHOT).findings)


@pytest.mark.parametrize("name", ["restore_name", "restore_volume_type", "restore_availability_zone"])
def test_an_empty_text_takes_the_place_of_nothing(name):
    with pytest.raises(ValidationError, match=name):
        rendered(BACKUP, **{name: ""})


# What is built directly


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("restore_volume_type", "ssd", "type ssd"),
        ("restore_availability_zone", "az2", "zone az2"),
        ("restore_size", "30", "size 30 GiB"),
    ],
)
def test_what_heat_would_ignore_with_a_backup_is_built_directly(name, value, told):
    result = rendered(BACKUP, **{name: value})
    parameter = result.fragments["volume-1"]
    assert isinstance(parameter, HeatParameter)
    assert (parameter.value, parameter.constraint) == (None, "cinder.volume")
    assert "backup-of-volume-1" in parameter.description
    assert told in parameter.description


def test_a_boot_volume_of_a_backup_is_built_directly_to_be_bootable():
    chosen = booting(BACKUP)
    result = render(selection(*chosen["made"], edges=chosen["edges"]))
    assert result.produced[BACKUP.key] is Produces.PARAMETER
    assert "bootable" in result.fragments["volume-1"].description
    judge(result.hot.text)


@pytest.mark.parametrize(("node", "produces"), [(SNAPSHOT, Produces.RESOURCE), (BYTES, Produces.PARAMETER)])
def test_boot_volumes_of_other_kinds_are_bootable_anyway(node, produces):
    chosen = booting(node)
    made = selection(*chosen["made"], edges=chosen["edges"])
    assert made.prepare(node.key)[0].bootable is False
    assert render(made).produced[node.key] is produces


def test_bytes_in_the_bank_are_built_directly():
    work, _ = selection(BYTES).prepare(BYTES.key)
    assert VolumePlugin().data(work) == BankData(2, MD5)
    parameter = rendered(BYTES).fragments["volume-1"]
    assert isinstance(parameter, HeatParameter)
    assert MD5 in parameter.description
    assert VolumePlugin().data(selection(BACKUP).prepare(BACKUP.key)[0]) is None


# What is refused


@pytest.mark.parametrize(("node", "refused"), [(BACKUP, True), (BYTES, True), (SNAPSHOT, False)])
def test_a_shared_volume_needs_a_type_unless_a_snapshot_has_it(node, refused):
    servers = [nodes.server(f"server-{n}", f"s{n}", boot="image-1", data_volumes=[node.id]) for n in (1, 2)]
    image = nodes.image("image-1")
    edges = {server.key: [image.key, node.key] for server in servers}
    problems = render(selection(image, node, *servers, edges=edges)).problems
    assert [problem.field for problem in problems] == ["restore_volume_type"] * refused
    given = {"restore_volume_type": "shared"}
    result = render(selection(image, node, *servers, edges=edges, parameters=given))
    assert result.problems == []
    judge(result.hot.text)


def test_a_volume_in_freezer_is_refused_and_its_secrets_are_not_kept():
    job = {"description": "x", "job_actions": [{"freezer_action": {"secret_key": "hunter2"}}]}
    node = nodes.volume("volume-1", job_id="job-1", job_info=job)
    result = rendered(node)
    assert [problem.field for problem in result.problems] == ["metadata.job_info"]
    work, _ = selection(node).prepare(node.key)
    definition = VolumeDefinition.model_validate(node.metadata)
    assert "hunter2" not in f"{result.problems} {work!r} {definition!r}"


def test_metadata_of_no_known_kind_are_refused():
    (problem,) = rendered(nodes.volume("volume-1", something="else")).problems
    assert problem.field == "metadata"


@pytest.mark.parametrize("node", [SNAPSHOT, replace(BYTES, metadata=BYTES.metadata | {"volume_size": 20})])
def test_less_than_the_original_size_is_refused(node):
    (problem,) = rendered(node, restore_size=19).problems
    assert problem.field == "restore_size"
    assert rendered(node, restore_size=20).problems == []


def test_bytes_of_unknown_size_need_one():
    metadata = {name: value for name, value in BYTES.metadata.items() if name != "volume_size"}
    node = replace(BYTES, metadata=metadata)
    (problem,) = rendered(node).problems
    assert problem.field == "metadata.volume_size"
    assert rendered(node, restore_size=2).problems == []


@pytest.mark.parametrize("value", [{"get_file": "/etc/passwd"}, ["backup-1"], 7])
def test_a_backup_id_is_text(value):
    with pytest.raises(ValueError, match="backup_id"):
        VolumeDefinition.model_validate({"volume_id": "volume-1", "backup_id": value})


# Building directly, against a cloud


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        stub.backups["backup-of-volume-1"] = {"id": "backup-of-volume-1", "size": 20}
        yield stub


def build(cloud: StubCloud, context: FakeContext, made: FakeSelection, node: Node = BACKUP) -> str:
    """Run restore() as a worker does and return the volume's new id."""
    context.cloud = cloud.connect()
    work, _ = made.prepare(node.key)
    template = HeatTemplate()
    VolumePlugin().restore(made.resource(node.key), work, template, context)
    return template.get_physical_id(node.id)


def boot_selection() -> FakeSelection:
    chosen = booting(BACKUP)
    return selection(*chosen["made"], edges=chosen["edges"])


def test_a_boot_volume_is_made_of_its_backup_and_marked_bootable(cloud):
    volume = cloud.volumes[build(cloud, FakeContext(), boot_selection())]
    assert (volume["name"], volume["backup_id"], volume["size"]) == ("db-data", "backup-of-volume-1", 20)
    assert volume["bootable"] == "true"
    assert "volume_type" not in volume


def test_type_zone_and_size_reach_cinder(cloud):
    given = {"restore_volume_type": "ssd", "restore_availability_zone": "az2", "restore_size": 30}
    volume = cloud.volumes[build(cloud, FakeContext(), selection(BACKUP, parameters=given))]
    assert (volume["volume_type"], volume["availability_zone"], volume["size"]) == ("ssd", "az2", 30)
    assert volume["bootable"] == "false"


def test_it_waits_without_holding_the_worker(cloud):
    cloud.volume_status = "restoring-backup"
    context = FakeContext()
    with pytest.raises(StillBuilding, match="restoring-backup"):
        build(cloud, context, boot_selection())
    (volume,) = cloud.volumes.values()
    assert volume["bootable"] == "false"
    volume["status"] = "available"
    assert build(cloud, context, boot_selection()) == volume["id"]
    assert volume["bootable"] == "true"


def test_a_second_run_finds_the_volume_of_the_first(cloud):
    first = build(cloud, FakeContext(), boot_selection())
    assert build(cloud, FakeContext(), boot_selection()) == first
    assert build(cloud, FakeContext("restore-2"), boot_selection()) != first


def test_a_volume_that_cinder_could_not_build_is_an_error(cloud):
    cloud.volume_status = "error_restoring"
    with pytest.raises(CloudError, match="error_restoring"):
        build(cloud, FakeContext(), boot_selection())


def test_a_cinder_that_would_give_an_empty_volume_is_refused(cloud):
    cloud.volume_microversion = "3.46"
    with pytest.raises(Exception, match=r"3\.47"):
        build(cloud, FakeContext(), boot_selection())
    assert cloud.volumes == {}


def test_bytes_become_an_image_then_a_volume_and_the_image_goes(cloud):
    cloud.volume_status = "downloading"
    context = FakeContext(data=[DATA])
    with pytest.raises(StillBuilding):
        build(cloud, context, selection(BYTES), BYTES)
    (image,), (volume,) = cloud.images.values(), cloud.volumes.values()
    assert (image["checksum"], volume["imageRef"], volume["size"]) == (MD5, image["id"], 1)
    volume["status"] = "available"
    assert build(cloud, context, selection(BYTES), BYTES) == volume["id"]
    assert cloud.images == {}
    # Once more, as after a kill between the last call and the note of it.
    assert build(cloud, context, selection(BYTES), BYTES) == volume["id"]
    assert cloud.received == [len(DATA)]


def test_damaged_bytes_make_no_volume(cloud):
    with pytest.raises(DamagedDataError):
        build(cloud, FakeContext(data=[DATA], damage=DamagedDataError()), selection(BYTES), BYTES)
    assert (cloud.images, cloud.volumes) == ({}, {})


def test_discard_deletes_what_cinder_could_not_build(cloud):
    context, made = FakeContext(), boot_selection()
    cloud.volume_status = "error"
    with pytest.raises(CloudError):
        build(cloud, context, made)
    VolumePlugin().discard(made.resource(BACKUP.key), {"volume": ""}, context)
    assert cloud.volumes == {}


def test_discard_deletes_volume_and_image_also_if_nobody_noted_them(cloud):
    kept = build(cloud, FakeContext("restore-2"), boot_selection())
    cloud.volume_status = "downloading"
    context = FakeContext(data=[DATA])
    with pytest.raises(StillBuilding):
        build(cloud, context, selection(BYTES), BYTES)
    VolumePlugin().discard(selection(BYTES).resource(BYTES.key), {"volume": ""}, context)
    assert (list(cloud.volumes), cloud.images) == ([kept], {})
    VolumePlugin().discard(selection(BYTES).resource(BYTES.key), {}, context)
