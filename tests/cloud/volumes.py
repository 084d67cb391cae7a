"""A volume as Cinder tells of it, its backups, and its bytes as an image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from openstack.connection import Connection
from pydantic import BaseModel, ConfigDict, Field

from tests.cloud.images import Image, read_image

# Seconds that a backup, a snapshot or a copy may take.
_PATIENCE = 3600


class Volume(BaseModel):
    """A volume.

    size: GiB.
    attachments: as Cinder tells of them.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    id: str
    name: str | None
    size: int
    status: str
    availability_zone: str
    bootable: bool = Field(alias="is_bootable")
    attachments: list[dict[str, Any]]


def read_volume(cloud: Connection, volume_id: str) -> Volume:
    """Return a volume; openstacksdk's errors if there is none."""
    return Volume.model_validate(cloud.block_storage.get_volume(volume_id).to_dict(computed=False))


def begin_backup(cloud: Connection, volume: Volume, name: str) -> str:
    """Have Cinder back the volume up, whether it is attached or not, and return the backup's id at once."""
    return str(cloud.block_storage.create_backup(volume_id=volume.id, name=name, force=True).id)


def await_backup(cloud: Connection, backup_id: str) -> None:
    """Return once the backup is there; ResourceFailure or ResourceTimeout of openstacksdk if it never is."""
    cinder = cloud.block_storage
    cinder.wait_for_status(cinder.get_backup(backup_id), "available", ["error"], interval=1, wait=_PATIENCE)


@contextlib.contextmanager
def as_image(cloud: Connection, volume: Volume) -> Iterator[Image]:
    """Give a raw image of the volume's bytes; whatever is made for it is deleted at the end."""
    with _unused(cloud, volume) as volume_id:
        name = f"copy of {volume.id}"
        made = cloud.block_storage.upload_volume_to_image(
            volume_id, name, disk_format="raw", container_format="bare"
        )
        image_id = made["image_id"]
        try:
            image = cloud.image.get_image(image_id)
            cloud.image.wait_for_status(image, "active", ["killed", "deleted"], interval=1, wait=_PATIENCE)
            yield read_image(cloud, image_id)
        finally:
            cloud.image.delete_image(image_id, ignore_missing=True)
            _await(cloud, volume_id)


@contextlib.contextmanager
def _unused(cloud: Connection, volume: Volume) -> Iterator[str]:
    """Give the id of a volume with the same bytes that nobody uses: itself, or a copy that is deleted at the end."""
    if volume.status == "available":
        yield volume.id
        return
    cinder = cloud.block_storage
    name = f"copy of {volume.id}"
    snapshot = cinder.create_snapshot(volume_id=volume.id, name=name, is_forced=True)
    try:
        cinder.wait_for_status(snapshot, "available", ["error"], interval=1, wait=_PATIENCE)
        copy = cinder.create_volume(snapshot_id=snapshot.id, size=volume.size, name=name)
        try:
            _await(cloud, copy.id)
            yield copy.id
        finally:
            cinder.delete_volume(copy.id)
            cinder.wait_for_delete(copy, interval=1, wait=_PATIENCE)
    finally:
        cinder.delete_snapshot(snapshot.id)


def _await(cloud: Connection, volume_id: str) -> None:
    cinder = cloud.block_storage
    cinder.wait_for_status(cinder.get_volume(volume_id), "available", ["error"], interval=1, wait=_PATIENCE)
