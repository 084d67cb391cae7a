"""Volumes that Heat cannot build as they were: made through Cinder itself, before the stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restore_worker.errors import CloudError
from restore_worker.plugin import Context, StillBuilding

if TYPE_CHECKING:
    from openstack.block_storage.v3.volume import Volume

# Queens: before it, Cinder ignores backup_id, and the volume would come back empty.
_FROM_BACKUP = "3.47"
_UNDER_WAY = frozenset({"creating", "downloading", "restoring-backup"})
_THERE = frozenset({"available", "reserved", "attaching", "in-use"})


def build(context: Context, original_id: str, attributes: Mapping[str, Any], *, bootable: bool) -> str | None:
    """Return the id of a volume that is ready to be attached, None in a rendering.

    attributes: as openstacksdk's create_volume takes them; without ``size`` a backup has that of its volume.
    Raises StillBuilding until it is there, CloudError if Cinder could not build it, and openstacksdk's errors.
    """
    volume_id = context.once(
        "volume", lambda: _create(context, original_id, attributes), lambda: _find(context, original_id)
    )
    if volume_id is None:
        return None
    cinder = context.connection().block_storage
    volume = cinder.get_volume(volume_id)
    if volume.status in _UNDER_WAY:
        raise StillBuilding(f"volume {volume_id} is {volume.status}")
    if volume.status not in _THERE:
        raise CloudError(
            f"Cinder could not build volume {volume_id} for {original_id}: its status is {volume.status}"
        )
    if bootable and not volume.is_bootable:
        cinder.set_volume_bootable_status(volume_id, True)
    return volume_id


def delete(context: Context, original_id: str, made: Mapping[str, str]) -> None:
    """Delete what `build` made, also what it could not note as made or what Cinder could not build."""
    cinder = context.connection().block_storage
    for volume_id in {volume.id for volume in _ours(context, original_id)} | {made.get("volume", "")} - {""}:
        cinder.delete_volume(volume_id, ignore_missing=True)


def _create(context: Context, original_id: str, attributes: Mapping[str, Any]) -> str:
    from openstack import utils

    cinder = context.connection().block_storage
    attributes = {name: value for name, value in attributes.items() if value is not None}
    if "backup_id" in attributes:
        utils.require_microversion(cinder, _FROM_BACKUP)
        attributes.setdefault("size", cinder.get_backup(attributes["backup_id"]).size)
    volume = cinder.create_volume(**attributes, metadata=_mark(context, original_id))
    return volume.id


def _find(context: Context, original_id: str) -> str | None:
    usable = (each.id for each in _ours(context, original_id) if each.status in _UNDER_WAY | _THERE)
    return next(usable, None)


def _ours(context: Context, original_id: str) -> list[Volume]:
    from openstack.block_storage.v3.volume import Volume

    mark = _mark(context, original_id)
    found = context.connection().block_storage.volumes(properties=json.dumps(mark))
    return [each for each in found if isinstance(each, Volume) and mark.items() <= (each.metadata or {}).items()]


def _mark(context: Context, original_id: str) -> dict[str, str]:
    return {"restore_worker_restore": context.restore_id, "restore_worker_original": original_id}
