from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace

import pytest
from pydantic import ValidationError

from restore_openstack.backup_record import parse
from restore_openstack.image import ImagePlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.volume import VolumePlugin
from restore_openstack.volume_definition import VolumeDefinition
from restore_worker.errors import CloudError, CloudUnavailableError, DamagedDataError
from restore_worker.plan import Sites
from restore_worker.plugin import BankData, Produces, StillBuilding
from restore_worker.sitemap import SiteMap
from restore_worker.template import HeatParameter, HeatTemplate
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeReport, FakeSelection, FakeTarget, Rendering, render
from tests.support.judge import judge
from tests.support.mortal import MortalContext, lives
from tests.support.stub_cloud import StubCloud, stub_cloud

BACKUP = nodes.volume("volume-1", "db-data")
SNAPSHOT = nodes.volume("volume-1", "db-data", snapshot_id="snapshot-1", size=20)
DATA = b"\0" * 70_000
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
BYTES = nodes.volume_image("volume-1", "golden", DATA)
OF_VOLUME = "OS::Cinder::Volume#volume-1"


def selection(*made: Node, edges=None, parameters=None, sites=None) -> FakeSelection:
    plugins = [ServerPlugin(), VolumePlugin(), ImagePlugin()]
    return FakeSelection(plugins, made, edges or {}, {OF_VOLUME: parameters or {}}, sites=sites)


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
    assert {"volume_type", "availability_zone"} <= fields(rendered(SNAPSHOT, **given).findings)
    same = {"restore_availability_zone": "nova"}
    assert "availability_zone" not in fields(rendered(SNAPSHOT, **same).findings)


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
    assert made.prepare(node.key)[0].bootable is None
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


def add_backup(cloud: StubCloud, status: str = "available") -> None:
    backup = {"id": "backup-of-volume-1", "size": 20, "status": status, "metadata": {"tier": "gold"}}
    cloud.backups["backup-of-volume-1"] = backup


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        add_backup(stub)
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
    assert volume["metadata"]["tier"] == "gold"
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


def test_a_volume_that_cinder_could_not_build_is_deleted_and_the_reason_told(cloud):
    cloud.volume_status = "error_restoring"
    cloud.messages["physical-1"] = ["No back end has room.", "No back end has room.", "Sorry."]
    context = FakeContext()
    with pytest.raises(CloudError, match=r"physical-1.*error_restoring: No back end has room\. Sorry\.; it is"):
        build(cloud, context, boot_selection())
    assert (cloud.volumes, context.made) == ({}, {})
    cloud.volume_status = "available"
    assert build(cloud, context, boot_selection()) == "physical-2"


def test_a_volume_in_error_that_nobody_noted_leaves_no_copy_either(cloud):
    cloud.volume_status = "restoring-backup"
    with pytest.raises(StillBuilding):
        build(cloud, FakeContext(), boot_selection())
    cloud.volumes["physical-1"]["status"] = "error"
    context = FakeContext()
    with pytest.raises(CloudError, match="it does not say why"):
        build(cloud, context, boot_selection())
    assert (cloud.volumes, context.made) == ({}, {})


@pytest.mark.parametrize("status", [None, "deleting"])
def test_a_volume_that_somebody_deleted_is_built_again(cloud, status):
    context = FakeContext()
    first = build(cloud, context, boot_selection())
    if status is None:
        del cloud.volumes[first]
    else:
        cloud.volumes[first]["status"] = status
    with pytest.raises(StillBuilding, match=first):
        build(cloud, context, boot_selection())
    assert build(cloud, context, boot_selection()) != first


def test_a_backup_that_is_restored_elsewhere_is_waited_for(cloud):
    add_backup(cloud, "restoring")
    with pytest.raises(StillBuilding, match="backup-of-volume-1"):
        build(cloud, FakeContext(), boot_selection())
    assert cloud.volumes == {}


@pytest.mark.parametrize("kind", ["backup", "bytes"])
def test_a_kill_at_any_step_leaves_one_volume_and_nothing_else(cloud, kind):
    made, node = (selection(BYTES), BYTES) if kind == "bytes" else (boot_selection(), BACKUP)
    steps = 0
    for mortal in lives():
        cloud.volumes.clear()
        cloud.images.clear()
        doomed = MortalContext(data=[DATA[:1000], DATA[1000:]], mortal=mortal)
        with mortal.life(cloud.connect()):
            build(cloud, doomed, made, node)
        whole = [image for image in cloud.images.values() if image["status"] == "active"]
        sent, needed = cloud.received.count(len(DATA)), kind == "bytes" and not (cloud.volumes or whole)
        context = FakeContext(data=[DATA], made=doomed.made)
        # An upload that broke off is found first, and begun again after that.
        with suppress(StillBuilding):
            build(cloud, context, made, node)
        volume_id = build(cloud, context, made, node)
        assert (list(cloud.volumes), cloud.images) == ([volume_id], {})
        assert context.made == {"volume": volume_id}
        assert cloud.volumes[volume_id]["name"] == node.name
        assert cloud.received.count(len(DATA)) == sent + needed
        steps += 1
    assert steps > 10


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


def discard(context: FakeContext, node: Node = BACKUP, **noted: str) -> None:
    VolumePlugin().discard(selection(node).resource(node.key), noted, context)


def test_discard_deletes_what_cinder_could_not_build(cloud):
    context, made = FakeContext(), boot_selection()
    build(cloud, context, made)
    cloud.volumes["physical-1"]["status"] = "error_restoring"
    discard(context, volume="")
    assert cloud.volumes == {}


def test_discard_is_done_when_cinder_has_deleted_the_volume(cloud):
    context = FakeContext()
    volume_id = build(cloud, context, boot_selection())
    cloud.keeps = True
    for _ in range(2):
        with pytest.raises(CloudUnavailableError, match=f"{volume_id} is deleting"):
            discard(context, volume=volume_id)
    assert len([call for call in cloud.calls if call.startswith("DELETE")]) == 1
    del cloud.volumes[volume_id]
    discard(context, volume=volume_id)


@pytest.mark.parametrize(("status", "words"), [("in-use", "server-9"), ("error_deleting", "The disk is busy.")])
def test_discard_says_what_keeps_a_volume_from_being_deleted(cloud, status, words):
    context = FakeContext()
    volume_id = build(cloud, context, boot_selection())
    cloud.volumes[volume_id] |= {"status": status, "attachments": [{"server_id": "server-9"}]}
    cloud.messages[volume_id] = ["The disk is busy."]
    with pytest.raises(CloudError, match=f"{volume_id}.*{words}.*openstack"):
        discard(context, volume=volume_id)
    assert volume_id in cloud.volumes


def test_discard_deletes_volume_and_image_also_if_nobody_noted_them(cloud):
    kept = build(cloud, FakeContext("restore-2"), boot_selection())
    cloud.volume_status = "downloading"
    context = FakeContext(data=[DATA])
    with pytest.raises(StillBuilding):
        build(cloud, context, selection(BYTES), BYTES)
    # Cinder deletes nothing that is still being made.
    with pytest.raises(CloudUnavailableError, match="downloading"):
        discard(context, BYTES)
    for volume in cloud.volumes.values():
        volume["status"] = "available"
    discard(context, BYTES, volume="")
    assert (list(cloud.volumes), cloud.images) == ([kept], {})
    discard(context, BYTES)


# What is checked beforehand


def problems(cloud: StubCloud, node: Node, size: int = 0, **parameters: object) -> dict[str, str]:
    """Return what the check tells against the volume, by field."""
    made = selection(node, parameters=parameters)
    work, _ = made.prepare(node.key)
    report = FakeReport(node.id)
    VolumePlugin().check(made.resource(node.key), work, FakeTarget(cloud.connect(), size), report)
    assert report.findings == []
    return {each.field: each.text for each in report.problems}


def test_a_target_that_has_everything_passes(cloud):
    cloud.snapshots["snapshot-1"] = {"id": "snapshot-1", "status": "available"}
    cloud.volume_types["type-1"] = {"id": "type-1", "name": "ssd"}
    cloud.zones["az2"] = True
    given = {"restore_volume_type": "ssd", "restore_availability_zone": "az2", "restore_size": 20}
    for node in (BACKUP, SNAPSHOT, BYTES):
        assert problems(cloud, node) == problems(cloud, node, **given) == {}
    assert problems(cloud, BACKUP, restore_volume_type="type-1") == {}


def test_everything_that_is_missing_is_told_at_once_with_what_there_is(cloud):
    cloud.volume_types["type-1"] = {"id": "type-1", "name": "ssd"}
    cloud.zones |= {"az1": True, "az2": False}
    cloud.backups.clear()
    told = problems(cloud, BACKUP, restore_volume_type="fast", restore_availability_zone="az2")
    assert told.keys() == {"backup_id", "restore_volume_type", "restore_availability_zone"}
    assert "backup-of-volume-1" in told["backup_id"]
    assert "set restore_volume_type to ssd" in told["restore_volume_type"]
    assert "set restore_availability_zone to az1" in told["restore_availability_zone"]
    assert "snapshot-1" in problems(cloud, SNAPSHOT)["snapshot_id"]


def test_a_backup_and_a_snapshot_must_be_usable(cloud):
    add_backup(cloud, "error")
    cloud.snapshots["snapshot-1"] = {"id": "snapshot-1", "status": "deleting"}
    assert "'error'" in problems(cloud, BACKUP)["backup_id"]
    assert "'deleting'" in problems(cloud, SNAPSHOT)["snapshot_id"]
    add_backup(cloud, "restoring")
    assert problems(cloud, BACKUP) == {}


def test_a_volume_must_not_be_smaller_than_its_backup(cloud):
    assert "20 GiB" in problems(cloud, BACKUP, restore_size=19)["restore_size"]


def test_an_old_cinder_is_told_if_it_would_give_an_empty_volume(cloud):
    cloud.volume_microversion = "3.46"
    assert problems(cloud, BACKUP) == {}
    assert "3.47" in problems(cloud, BACKUP, restore_size=30)["backup_id"]


def claims(cloud: StubCloud, node: Node, size: int = 0, **parameters: object) -> dict[str, int]:
    """Return what the volume claims."""
    made = selection(node, parameters=parameters)
    target, report = FakeTarget(cloud.connect(), size), FakeReport(node.id)
    VolumePlugin().check(made.resource(node.key), made.prepare(node.key)[0], target, report)
    assert report.problems == []
    return target.claims


def test_a_volume_claims_its_size_and_a_while_its_image_in_glance(cloud):
    cloud.snapshots["snapshot-1"] = {"id": "snapshot-1", "status": "available"}
    cloud.volume_types["type-1"] = {"id": "type-1", "name": "ssd"}
    cloud.volume_types["type-2"] = {"id": "type-2", "name": "hdd", "default": True}
    assert claims(cloud, BACKUP) == {
        "volume.volumes": 1,
        "volume.gigabytes": 20,
        "volume.volumes_hdd": 1,
        "volume.gigabytes_hdd": 20,
    }
    # It has the type of its snapshot.
    assert claims(cloud, SNAPSHOT, restore_size=30) == {"volume.volumes": 1, "volume.gigabytes": 30}
    of_bytes = claims(cloud, BYTES, 10 * 1024**2 + 1, restore_volume_type="ssd", restore_size=30)
    assert of_bytes == {
        "image.image_count_total passing": 1,
        "image.image_size_total passing": 11,
        "volume.volumes": 1,
        "volume.gigabytes": 30,
        "volume.volumes_ssd": 1,
        "volume.gigabytes_ssd": 30,
    }


def test_many_choices_are_not_listed(cloud):
    cloud.volume_types |= {f"type-{n}": {"id": f"type-{n}", "name": f"t{n}"} for n in range(11)}
    assert (
        "openstack volume type list" in problems(cloud, SNAPSHOT, restore_volume_type="x")["restore_volume_type"]
    )


def test_a_question_is_asked_once_however_many_volumes_there_are(cloud):
    cloud.zones["az2"] = True
    cloud.volume_types["type-1"] = {"id": "type-1", "name": "ssd"}
    given = {"restore_volume_type": "ssd", "restore_availability_zone": "az2"}
    volumes = [nodes.volume(f"volume-{number}") for number in range(50)]
    for node in volumes:
        cloud.backups[f"backup-of-{node.id}"] = {"id": f"backup-of-{node.id}", "size": 1, "status": "available"}
    made = FakeSelection([VolumePlugin()], volumes, {}, {nodes.VOLUME: given})
    target, report = FakeTarget(cloud.connect()), FakeReport("all")
    for node in volumes:
        VolumePlugin().check(made.resource(node.key), made.prepare(node.key)[0], target, report)
    assert report.problems == []
    # Beside three lists, what openstacksdk asks to know the API.
    assert {f"GET /volume/v3/{each}" for each in ("backups/detail", "os-availability-zone", "types")} <= set(
        cloud.calls
    )
    assert len(cloud.calls) < 10


# Backups of another cloud


def record(backup_id: str = "backup-of-volume-1", **further: object) -> str:
    """Return a record as Cinder exports it."""
    fields = {"id": backup_id, "service": "posix", "size": 20, "parent_id": None, "encryption_key_id": None}
    return b64encode(json.dumps({**fields, "object_count": 3, **further}).encode()).decode()


def foreign(*records: str, **parameters: object) -> FakeSelection:
    return selection(BACKUP, parameters={"backup_record": ",".join(records), **parameters})


def test_a_backup_that_the_target_lacks_is_imported_once_and_stays(cloud):
    cloud.backups.clear()
    context, made = FakeContext(), foreign(record("backup-of-another"), record())
    with pytest.raises(StillBuilding, match="backup-of-volume-1 is imported"):
        build(cloud, context, made)
    cloud.backups["backup-of-volume-1"]["status"] = "creating"
    with pytest.raises(StillBuilding, match="backup-of-volume-1 is being imported"):
        build(cloud, context, made)
    cloud.backups["backup-of-volume-1"]["status"] = "available"
    volume_id = build(cloud, context, made)
    assert cloud.volumes[volume_id]["backup_id"] == "backup-of-volume-1"
    assert [each for each in cloud.calls if each.startswith("POST")] == [
        "POST /volume/v3/backups/import_record",
        "POST /volume/v3/volumes",
    ]
    assert context.made == {"volume": volume_id}
    discard(context, **context.made)
    assert (list(cloud.backups), cloud.volumes) == (["backup-of-volume-1"], {})


def test_what_an_incremental_backup_builds_on_is_imported_before_it(cloud):
    cloud.backups.clear()
    chain = [
        record(parent_id="second"),
        record("first"),
        record("second", parent_id="first"),
    ]
    made = foreign(*chain)
    for imported in (["first"], ["first", "second"], ["first", "second", "backup-of-volume-1"]):
        with pytest.raises(StillBuilding):
            build(cloud, FakeContext(), made)
        assert list(cloud.backups) == imported
    assert build(cloud, FakeContext(), made) in cloud.volumes


def test_records_that_go_round_in_circles_end(cloud):
    cloud.backups.clear()
    made = foreign(record(parent_id="other"), record("other", parent_id="backup-of-volume-1"))
    assert len(made.prepare(BACKUP.key)[0].records) == 2


def test_a_backup_that_cinder_cannot_import_is_told_and_not_deleted(cloud):
    cloud.backups.clear()
    cloud.imports = "error"
    with pytest.raises(StillBuilding):
        build(cloud, FakeContext(), foreign(record()))
    with pytest.raises(CloudError, match=r"backup-of-volume-1: no such service; .*openstack volume backup delete"):
        build(cloud, FakeContext(), foreign(record()))
    assert list(cloud.backups) == ["backup-of-volume-1"]


def test_a_backup_that_is_there_is_not_imported(cloud):
    assert build(cloud, FakeContext(), foreign(record())) in cloud.volumes
    assert "POST /volume/v3/backups/import_record" not in cloud.calls


def test_what_an_import_means_is_told():
    result = rendered(BACKUP, backup_record=record(encryption_key_id="key-1"))
    assert result.produced == {BACKUP.key: Produces.PARAMETER}
    told = {each.field: each.text for each in result.findings}
    assert "stays" in told["backup_id"]
    assert "key-1" in told["backup_record"]
    assert fields(rendered(BACKUP, backup_record=record("another")).findings) == fields(rendered(BACKUP).findings)
    assert rendered(SNAPSHOT, backup_record=record()).produced == {SNAPSHOT.key: Produces.RESOURCE}


@pytest.mark.parametrize("given", ["", "x", "e30=", f"{record()},", record(service=None), "gr\u00fcn"])
def test_what_is_no_record_is_refused(given):
    with pytest.raises(ValidationError, match="no record of a Cinder backup: give what `openstack volume backup"):
        rendered(BACKUP, backup_record=given)


def of_map(**backups: str) -> Sites:
    return Sites(
        SiteMap.model_validate(
            {"source": {"backups": {name.replace("_", "-"): backups[name] for name in backups}}}
        )
    )


def records_of(made: FakeSelection) -> list[str]:
    """Return the ids of the backups that would be imported."""
    return [parse(each).id for each in made.prepare(BACKUP.key)[0].records]


def test_records_stand_in_the_site_map_too():
    sites = of_map(backup_of_volume_1=record(parent_id="first"), first=record("first"))
    assert records_of(selection(BACKUP, sites=sites)) == ["first", "backup-of-volume-1"]
    assert records_of(selection(BACKUP, sites=sites, parameters={"backup_record": record()})) == [
        "backup-of-volume-1"
    ]
    assert records_of(selection(BACKUP, sites=of_map(other=record("other")))) == []


@pytest.mark.parametrize(("given", "words"), [("x", "no record"), (record("other"), "the record of backup other")])
def test_what_is_no_record_of_the_backup_is_refused_in_the_site_map(given, words):
    (problem,) = render(selection(BACKUP, sites=of_map(backup_of_volume_1=given))).problems
    assert problem.text.startswith(f"source.backups.backup-of-volume-1: it is {words}")
    assert "openstack volume backup record export backup-of-volume-1" in problem.text


def test_the_cloud_that_made_a_backup_exports_its_record(cloud):
    cloud.backups |= {"first": {"id": "first", "size": 20, "service": "posix"}}
    cloud.backups["backup-of-volume-1"] |= {"service": "posix", "parent_id": "first"}

    def exported(to: StubCloud) -> list[str]:
        source, target = (FakeTarget(each.connect()) for each in (cloud, to))
        return records_of(selection(BACKUP, sites=Sites(target=target, source=source)))

    with stub_cloud() as other:
        assert exported(other) == ["first", "backup-of-volume-1"]
        add_backup(other)
        assert exported(other) == []
        other.backups.clear()
        cloud.may_import = False
        assert exported(other) == []
        cloud.may_import = True
        cloud.backups.clear()
        assert exported(other) == []
    add_backup(cloud)
    assert exported(cloud) == []


def test_a_target_that_can_import_passes(cloud):
    cloud.backups.clear()
    assert problems(cloud, BACKUP, backup_record=record()) == {}
    claimed = claims(cloud, BACKUP, backup_record=record())
    assert (claimed["volume.backups"], claimed["volume.backup_gigabytes"]) == (1, 20)
    assert claimed["volume.gigabytes"] == 20
    assert "20 GiB" in problems(cloud, BACKUP, backup_record=record(), restore_size=19)["restore_size"]
    assert cloud.backups == {}


def test_a_user_who_may_not_import_is_told_what_an_admin_runs(cloud):
    cloud.backups.clear()
    cloud.may_import = False
    first = record("first")
    second = record(parent_id="first")
    told = problems(cloud, BACKUP, backup_record=f"{second},{first}")
    command = "cinder --os-project-id PROJECT backup-import posix"
    assert told.keys() == {"backup_record"}
    assert f"{command} {first} && {command} {second}" in told["backup_record"]
    add_backup(cloud)
    cloud.backups["first"] = {"id": "first", "size": 1, "status": "available"}
    assert problems(cloud, BACKUP, backup_record=f"{second},{first}") == {}


def test_a_record_that_lacks_is_named(cloud):
    cloud.backups.clear()
    told = problems(cloud, BACKUP, backup_record=record(parent_id="first"))
    assert "openstack volume backup record export first" in told["backup_record"]
    told = problems(cloud, BACKUP)
    assert "openstack volume backup record export backup-of-volume-1" in told["backup_id"]
    assert "its bytes are in the bank" in told["backup_id"]
