"""What runs in the cloud is recorded, protected and lost as the end-to-end tests need it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from restore_worker import restore
from tests.cloud import application, disks, protect, removal, sample
from tests.support.sample_banks import WEBAPP

SECONDS = 300


@contextlib.contextmanager
def an_application(demo, files, name: str) -> Iterator[application.Application]:
    """Give an application; all that bears its name is deleted at the end."""
    try:
        yield application.build(demo, name, files)
    finally:
        removal.remove(demo, name)


@pytest.fixture
def files(cloud):
    """Give the folder of the cloud's volumes."""
    return cloud.site.data / "cinder" / "volumes"


def test_a_volume_is_saved_with_its_bytes_whether_it_is_used_or_not(demo, files, tmp_path):
    name = "life-bytes"
    with an_application(demo, files, name) as made:
        volumes = (made.data[0], made.loose)
        protected = protect.protect(
            demo, protect.Plan(name, volumes=volumes, networks=()), tmp_path, with_bytes=volumes
        )
        assert protected.backups == {}
        assert restore.plan(protected.checkpoint, bank=tmp_path).problems == ()
        for volume in volumes:
            folder = tmp_path / "karbor/checkpoints" / protected.checkpoint / "resource-data" / volume
            metadata = json.loads((folder / "metadata").read_text())
            saved = tmp_path / volume
            with saved.open("wb") as file:
                for number in range(1, metadata["chunks_num"] + 1):
                    file.write((folder / f"data_{number}").read_bytes())
            assert saved.stat().st_size == metadata["volume_size"] << 30
            assert disks.digest(saved) == disks.digest(disks.volume_file(files, volume))
        # Nothing of what was made for it is left.
        assert not [each for each in demo.image.images() if each.name.startswith("copy of ")]
        assert not [each for each in demo.block_storage.volumes() if each.name.startswith("copy of ")]


def test_a_protection_that_breaks_leaves_a_checkpoint_in_error(demo, tmp_path):
    absent = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(Exception, match=absent):
        protect.protect(demo, protect.Plan("life-broken", networks=(absent,)), tmp_path)
    (index,) = tmp_path.glob("karbor/checkpoints/*/index.json")
    assert json.loads(index.read_text())["status"] == "error"


def test_a_sample_bank_is_stocked_with_what_it_names(demo, files, tmp_path):
    name = "life-sample"
    (checkpoint,) = json.loads((WEBAPP / "expected.json").read_text())
    try:
        bank = sample.stock(demo, files, WEBAPP, checkpoint, tmp_path / "bank", name)
        backups = {each.id for each in demo.block_storage.backups() if each.name.startswith(f"{name}-")}
        metadata = [json.loads(path.read_text()) for path in bank.rglob("metadata")]
        assert {each["backup_id"] for each in metadata if "backup_id" in each} == backups
        assert len(backups) == 5
        keys = {each["server_metadata"]["key_name"] for each in metadata if "server_metadata" in each}
        assert keys == {f"{name}-ops-key", f"{name}-dba-key"}
        assert keys <= {each.name for each in demo.compute.keypairs()}
        assert restore.plan(checkpoint, bank=bank).problems == ()
    finally:
        removal.remove(demo, name)
