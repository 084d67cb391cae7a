from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from restore_openstack.image import ImageDefinition, ImagePlugin
from restore_worker.errors import CloudUnavailableError, DamagedDataError
from restore_worker.plugin import BankData, Produces
from restore_worker.template import HeatTemplate
from tests.support import nodes
from tests.support.fakes import FakeContext, FakeSelection, render
from tests.support.stub_cloud import StubCloud, stub_cloud

DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
NODE = nodes.image("image-1", "ubuntu", DATA, chunk_size=1000)


@pytest.fixture
def cloud():
    with stub_cloud() as stub:
        yield stub


def restore(cloud: StubCloud, context: FakeContext) -> str:
    """Restore the image as a worker does and return its new id."""
    context.cloud = cloud.connect()
    selection = FakeSelection([ImagePlugin()], [NODE])
    work, _ = selection.prepare(NODE.key)
    template = HeatTemplate()
    ImagePlugin().restore(selection.resource(NODE.key), work, template, context)
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
    cloud.refuses_uploads = True
    with pytest.raises(Exception, match="no space left"):
        restore(cloud, FakeContext(data=[DATA]))
    assert cloud.images == {}


def test_discard_deletes_what_was_made_and_nothing_else(cloud):
    kept = restore(cloud, FakeContext("restore-2", data=[DATA]))
    context = FakeContext(data=[DATA])
    restore(cloud, context)
    resource = FakeSelection([ImagePlugin()], [NODE]).resource(NODE.key)
    ImagePlugin().discard(resource, context.made, context)
    assert list(cloud.images) == [kept]
    ImagePlugin().discard(resource, {"image": ""}, context)
