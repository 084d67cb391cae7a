"""Volumes of a stack are filled where Heat made them: so the stack keeps them, whatever Heat is told later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from restore_openstack import backup_record
from restore_openstack.lookups import or_none
from restore_openstack.managed_stack import Part
from restore_openstack.stack_definition import Filled, StackWork
from restore_worker.errors import CloudError
from restore_worker.plugin import Context, StillBuilding

if TYPE_CHECKING:
    from openstack.block_storage.v3.volume import Volume

# Yoga: since then Cinder writes an image over a volume.
FROM_IMAGE = "3.68"
_UNDER_WAY = frozenset({"restoring-backup", "downloading"})


def fill(context: Context, work: StackWork, parts: Mapping[str, Part], images: Mapping[str, str]) -> None:
    """Return once the volumes have their bytes; all are begun at once.

    images: new ids of the checkpoint's images.
    Raises StillBuilding until then, CloudError if the stack lacks a volume or Cinder could not fill it.
    """
    waits = [reason for each in work.volumes if (reason := _fill(context, each, _volume_id(each, parts), images))]
    if waits:
        raise StillBuilding("; ".join(waits))


def _volume_id(filled: Filled, parts: Mapping[str, Part]) -> str:
    part = parts.get(filled.path)
    if part is None or not part.physical_id:
        raise CloudError(f"the stack has no volume {filled.path}, of which the checkpoint has the bytes")
    return part.physical_id


def _fill(context: Context, filled: Filled, volume_id: str, images: Mapping[str, str]) -> str:
    """Begin to fill a volume, if nobody has; return what is waited for, "" if it is filled."""
    backup_record.have(context, filled.records)
    context.once(
        f"contents of {filled.path}",
        lambda: _begin(context, filled, volume_id, images),
        lambda: volume_id if _look(context, volume_id).status in _UNDER_WAY else None,
    )
    volume = _look(context, volume_id)
    if volume.status.startswith("error"):
        # Its bytes are no more than half of the old ones: the next attempt begins anew.
        context.gone(f"contents of {filled.path}")
        raise CloudError(
            f"Cinder could not fill volume {filled.path} of the stack, its status is {volume.status}: have an "
            f"admin look why, and set it to available (openstack volume set --state available {volume_id}), then "
            "resume"
        )
    return f"volume {filled.path} is {volume.status}" if volume.status in _UNDER_WAY else ""


def _begin(context: Context, filled: Filled, volume_id: str, images: Mapping[str, str]) -> str:
    from openstack.exceptions import raise_from_response

    cinder = context.connection().block_storage
    if filled.backup_id:
        backup = cinder.get_backup(filled.backup_id)
        if backup.status == "restoring":
            raise StillBuilding(f"backup {backup.id} is being restored elsewhere, and Cinder does one at a time")
        response = cinder.post(f"/backups/{filled.backup_id}/restore", json={"restore": {"volume_id": volume_id}})
    else:
        body = {"os-reimage": {"image_id": images[filled.path], "reimage_reserved": False}}
        response = cinder.post(f"/volumes/{volume_id}/action", json=body, microversion=FROM_IMAGE)
    raise_from_response(response)
    return volume_id


def _look(context: Context, volume_id: str) -> Volume:
    from openstack.block_storage.v3.volume import Volume

    found = or_none(lambda: context.connection().block_storage.get_volume(volume_id))
    if not isinstance(found, Volume):
        raise CloudError(
            f"somebody deleted volume {volume_id} of the stack: destroy the restore, and submit again"
        )
    return found
