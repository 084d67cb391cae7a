from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from openstack.exceptions import HttpException
from openstack.image.v2._proxy import Proxy
from pydantic import ValidationError

from restore_openstack.image import ImageDefinition, ImagePlugin
from restore_worker.errors import CloudUnavailableError, DamagedDataError, StaleLeaseError
from restore_worker.plugin import BankData, Produces, StillBuilding
from restore_worker.template import HeatTemplate
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeReport, FakeSelection, FakeTarget, render
from tests.support.mortal import MortalContext, lives
from tests.support.stub_cloud import StubCloud, stub_cloud

DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
NODE = nodes.image("image-1", "ubuntu", DATA, chunk_size=1000)


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        yield stub


def restore(cloud: StubCloud, context: FakeContext, node: Node = NODE) -> str:
    """Restore the image as a worker does and return its new id."""
    context.cloud = cloud.connect()
    selection = FakeSelection([ImagePlugin()], [node])
    work, _ = selection.prepare(node.key)
    template = HeatTemplate()
    ImagePlugin().restore(selection.resource(node.key), work, template, context)
    return template.get_physical_id("image-1")


def test_image_is_a_parameter_that_says_what_belongs_in_it():
    result = render(FakeSelection([ImagePlugin()], [NODE]))
    parameter = result.fragments["image-1"]
    assert result.produced == {NODE.key: Produces.PARAMETER}
    assert (parameter.value, parameter.constraint, parameter.title) == (None, "glance.image", "ubuntu")
    assert MD5 in parameter.description
    assert "qcow2" in parameter.description


def test_chunks_and_checksum_are_those_of_the_metadata():
    selection = FakeSelection([ImagePlugin()], [NODE])
    work, _ = selection.prepare(NODE.key)
    assert ImagePlugin().data(work) == BankData(11, MD5)


def test_before_2017_nobody_counted_the_chunks():
    definition = ImageDefinition.model_validate(
        {
            "resource_id": "image-1",
            "backup_id": "image-1",
            "image_metadata": {"disk_format": "raw", "container_format": "bare", "checksum": MD5},
        }
    )
    assert definition.chunks_num is None


@pytest.mark.parametrize("checksum", [None, {"get_file": "/etc/passwd"}, 5])
def test_a_checksum_is_text(checksum):
    metadata = NODE.metadata | {"image_metadata": NODE.metadata["image_metadata"] | {"checksum": checksum}}
    with pytest.raises(ValidationError, match=r"image_metadata\.checksum"):
        ImageDefinition.model_validate(metadata)


def test_upload_sends_the_bytes_under_the_original_name(cloud):
    # Karbor under Python 3 could save an empty chunk: it must not end the upload.
    image_id = restore(cloud, FakeContext(data=[DATA[:1000], b"", DATA[1000:]]))
    image = cloud.images[image_id]
    assert (image["name"], image["disk_format"], image["container_format"]) == ("ubuntu", "qcow2", "bare")
    assert (image["status"], image["checksum"], image["size"]) == ("active", MD5, len(DATA))


def test_a_second_run_finds_the_image_of_the_first(cloud):
    first = restore(cloud, FakeContext(data=[DATA]))
    # The ledger lost it: a worker was killed before it could note the id.
    assert restore(cloud, FakeContext(data=[DATA])) == first
    assert cloud.received == [len(DATA)]


def test_another_restore_makes_its_own_image(cloud):
    first = restore(cloud, FakeContext(data=[DATA]))
    assert restore(cloud, FakeContext("restore-2", data=[DATA])) != first


@pytest.mark.parametrize("left", [{"status": "queued", "checksum": None}, {"checksum": "of other bytes"}])
def test_what_a_killed_worker_left_is_replaced(cloud, left):
    first = restore(cloud, FakeContext(data=[DATA]))
    cloud.images[first] |= left
    second = restore(cloud, FakeContext(data=[DATA]))
    assert list(cloud.images) == [second]


@dataclass
class Overtaken(FakeContext):
    """The context of a worker that loses its resource to another one when it begins to create."""

    other: Callable[[], None] = lambda: None
    lost: bool = False

    def once(self, key: str, create: Callable[[], str], find: Callable[[], str | None]) -> str | None:
        def late() -> str:
            self.other()
            return create()

        return super().once(key, late, find)

    def check_ours(self) -> None:
        if self.lost:
            raise StaleLeaseError


def test_a_late_worker_deletes_nothing_of_the_one_that_took_over(cloud):
    first = restore(cloud, FakeContext(data=[DATA]))
    cloud.images[first] |= {"status": "saving", "checksum": None}

    def take_over() -> None:
        late.lost = True

    late = Overtaken(data=[DATA], other=take_over)
    with pytest.raises(StaleLeaseError):
        restore(cloud, late)
    assert list(cloud.images) == [first]
    assert cloud.received == [len(DATA)]


def test_what_is_whole_when_a_worker_begins_is_not_deleted_but_used(cloud):
    done = []

    def finish() -> None:
        done.append(restore(cloud, FakeContext(data=[DATA])))

    assert restore(cloud, Overtaken(data=[DATA], other=finish)) == done[0]
    assert (list(cloud.images), cloud.images[done[0]]["checksum"]) == (done, MD5)


def test_a_late_worker_creates_nothing(cloud):
    def take_over() -> None:
        late.lost = True

    late = Overtaken(data=[DATA], other=take_over)
    with pytest.raises(StaleLeaseError):
        restore(cloud, late)
    assert cloud.images == {}


def test_an_image_that_is_whole_stays_although_the_answer_was_lost(cloud, monkeypatch):
    def lose(*_: object) -> None:
        raise CloudUnavailableError("no answer")

    context = FakeContext(data=[DATA])
    with monkeypatch.context() as patch:
        patch.setattr("restore_openstack.glance._compare", lose)
        with pytest.raises(CloudUnavailableError):
            restore(cloud, context)
    assert restore(cloud, context) == context.made["image"]
    assert cloud.received == [len(DATA)]


def test_damaged_data_leave_no_image(cloud):
    with pytest.raises(DamagedDataError):
        restore(cloud, FakeContext(data=[DATA[:-1]], damage=DamagedDataError("data_11 is short")))
    assert cloud.images == {}


def test_other_bytes_in_glance_leave_no_image_and_are_sent_again(cloud):
    cloud.corrupts = True
    with pytest.raises(CloudUnavailableError, match=MD5):
        restore(cloud, FakeContext(data=[DATA]))
    assert cloud.images == {}


def test_a_failed_upload_leaves_no_image(cloud):
    cloud.refuses_uploads = 413
    with pytest.raises(HttpException, match="no space left"):
        restore(cloud, FakeContext(data=[DATA]))
    assert cloud.images == {}


def test_an_upload_that_a_web_server_broke_off_is_tried_again(cloud):
    cloud.refuses_uploads = 500
    with pytest.raises(CloudUnavailableError, match="HTTP 500"):
        restore(cloud, FakeContext(data=[DATA]))
    assert cloud.images == {}


def test_bytes_are_sent_in_parts_that_web_servers_take(cloud):
    large = b"\0" * (3 * 2**20 + 5)
    node = nodes.image("image-1", "ubuntu", large)
    image_id = restore(cloud, FakeContext(data=[large]), node)
    assert cloud.images[image_id]["size"] == len(large)
    # uWSGI takes less than 1 MiB at once.
    assert max(cloud.chunks) < 2**20


def test_a_kill_at_any_step_leaves_one_image_and_one_only(cloud):
    steps = 0
    for mortal in lives():
        cloud.images.clear()
        doomed = MortalContext(data=[DATA[:1000], DATA[1000:]], mortal=mortal)
        with mortal.life(cloud.connect()):
            restore(cloud, doomed)
        context = FakeContext(data=[DATA], made=doomed.made)
        with suppress(StillBuilding):
            restore(cloud, context)
        image_id = restore(cloud, context)
        assert (list(cloud.images), cloud.images[image_id]["checksum"]) == ([image_id], MD5)
        steps += 1
    assert steps > 10


def test_what_stands_in_the_way_of_an_upload_is_told_even_if_it_cannot_be_deleted(cloud, monkeypatch):
    def delete_image(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(Proxy, "delete_image", delete_image)
    with pytest.raises(DamagedDataError, match="data_11"):
        restore(cloud, FakeContext(data=[DATA], damage=DamagedDataError("data_11 is short")))


@dataclass
class Curious(FakeContext):
    """Asks with each piece of data what is noted already."""

    told: str = ""

    def read_data(self) -> Iterator[bytes]:
        for piece in super().read_data():
            self.told = self.made["image"]
            yield piece


def test_an_image_is_noted_before_its_bytes_are_sent(cloud):
    context = Curious(data=[DATA])
    assert restore(cloud, context) == context.told
    failing = Curious("restore-2", data=[DATA], damage=DamagedDataError())
    with pytest.raises(DamagedDataError):
        restore(cloud, failing)
    assert failing.told
    assert failing.made == {}


@pytest.mark.parametrize(
    "change", [None, {"status": "saving"}, {"status": "deactivated"}, {"checksum": "of others"}]
)
def test_an_image_that_was_noted_but_is_not_whole_is_uploaded_again(cloud, change):
    context = FakeContext(data=[DATA])
    first = restore(cloud, context)
    if change is None:
        del cloud.images[first]
    else:
        cloud.images[first] |= change
    with pytest.raises(StillBuilding, match=first):
        restore(cloud, context)
    second = restore(cloud, context)
    assert list(cloud.images) == [second]


def test_discard_deletes_what_was_made_and_nothing_else(cloud):
    kept = restore(cloud, FakeContext("restore-2", data=[DATA]))
    context = FakeContext(data=[DATA])
    restore(cloud, context)
    resource = FakeSelection([ImagePlugin()], [NODE]).resource(NODE.key)
    ImagePlugin().discard(resource, context.made, context)
    assert list(cloud.images) == [kept]
    ImagePlugin().discard(resource, {"image": ""}, context)


# What is checked beforehand


def test_an_image_claims_its_room_in_glance(cloud):
    selection = FakeSelection([ImagePlugin()], [NODE])
    report, target = FakeReport(NODE.id), FakeTarget(cloud.connect(), size=1024 * 1024**2 + 1)
    work, _ = selection.prepare(NODE.key)
    ImagePlugin().check(selection.resource(NODE.key), work, target, report)
    assert report.problems == []
    assert target.claims == {"image.image_count_total": 1, "image.image_size_total": 1025}
