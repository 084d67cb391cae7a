"""Volumes that Heat cannot build as they were: made through Cinder itself, before the stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from restore_openstack.lookups import or_none
from restore_worker.errors import CloudError, CloudUnavailableError
from restore_worker.plugin import Context, StillBuilding

if TYPE_CHECKING:
    from openstack.block_storage.v3.volume import Volume
    from openstack.connection import Connection

_FILLING = frozenset({"creating", "downloading", "restoring-backup"})
# Queens: before it, Cinder ignores backup_id, and the volume would come back empty.
FROM_BACKUP = "3.47"
_THERE = frozenset({"available", "reserved", "attaching", "in-use"})
_IN_USE = frozenset({"reserved", "in-use"})
_GOING = frozenset({"deleting", "error_deleting"})
_MESSAGES = "3.5"


class _Message(BaseModel):
    user_message: str


class _Messages(BaseModel):
    messages: list[_Message]


def build(
    context: Context,
    original_id: str,
    name: str,
    attributes: Callable[[], Mapping[str, Any]],
    *,
    bootable: bool | None,
) -> str | None:
    """Return the id of a volume that is ready to be attached, None in a rendering.

    attributes: asked only if there is no volume yet; all but the name, as openstacksdk's create_volume takes them,
        where a backup without ``size`` has that of its volume.
    bootable: whether servers shall boot from it; None for as Cinder makes it.
    Raises StillBuilding until it is there, CloudError if Cinder could not build it, after what there was of it is
    deleted, and openstacksdk's errors.
    """
    volume_id = context.once(
        "volume",
        lambda: _create(context, original_id, attributes()),
        lambda: _find(context, original_id),
    )
    if volume_id is None:
        return None
    volume = _look(context.connection(), volume_id)
    if volume is None or volume.status in _GOING:
        context.gone("volume")
        raise StillBuilding(f"volume {volume_id} was deleted: it is built again")
    if volume.status.startswith("error"):
        _give_up(context, volume)
    if volume.status not in _THERE:
        raise StillBuilding(f"volume {volume_id} is {volume.status}")
    _finish(context, original_id, volume, name, bootable=bootable)
    return volume_id


def _finish(context: Context, original_id: str, volume: Volume, name: str, *, bootable: bool | None) -> None:
    cinder = context.connection().block_storage
    mark = _mark(context, original_id)
    if not mark.items() <= (volume.metadata or {}).items():
        cinder.set_volume_metadata(volume.id, **mark)
    if volume.name != name:
        cinder.update_volume(volume.id, name=name)
    if bootable is not None and volume.is_bootable != bootable:
        cinder.set_volume_bootable_status(volume.id, bootable)


def delete(context: Context, original_id: str, made: Mapping[str, str]) -> None:
    """Delete what `build` made, also what it could not note as made or what Cinder could not build.

    Raises CloudUnavailableError until it is gone, CloudError if that takes a person, and openstacksdk's errors.
    """
    connection = context.connection()
    ids = sorted({volume.id for volume in _ours(context, original_id)} | {made.get("volume", "")} - {""})
    for volume_id in ids:
        if volume := _look(connection, volume_id):
            _delete(connection, volume)
    left = [f"volume {each} is {volume.status}" for each in ids if (volume := _look(connection, each))]
    if left:
        raise CloudUnavailableError(f"Cinder has not deleted everything yet: {', '.join(left)}")


def clear(connection: Connection, volume_id: str) -> None:
    """Delete a volume if Cinder could not fill it; CloudUnavailableError while it is still at it."""
    volume = _look(connection, volume_id)
    if volume is not None and volume.status in _FILLING:
        raise CloudUnavailableError(f"volume {volume_id} is still {volume.status}")
    if volume is not None and volume.status.startswith("error"):
        connection.block_storage.delete_volume(volume_id, ignore_missing=True)


def _look(connection: Connection, volume_id: str) -> Volume | None:
    from openstack.block_storage.v3.volume import Volume

    found = or_none(lambda: connection.block_storage.get_volume(volume_id))
    return found if isinstance(found, Volume) else None


def _delete(connection: Connection, volume: Volume) -> None:
    if volume.status in _IN_USE:
        servers = ", ".join(each["server_id"] for each in volume.attachments) or "a server"
        raise CloudError(
            f"volume {volume.id} cannot be deleted, as it is attached to {servers}: detach it "
            f"(openstack server remove volume SERVER {volume.id}) and try again"
        )
    if volume.status == "error_deleting":
        raise CloudError(
            f"Cinder could not delete volume {volume.id}: {_reason(connection, volume.id)}; have an admin set its "
            f"state (openstack volume set --state error {volume.id}) and try again"
        )
    # Cinder deletes nothing that is still being made.
    if volume.status == "available" or volume.status.startswith("error"):
        connection.block_storage.delete_volume(volume.id, ignore_missing=True)


def _give_up(context: Context, volume: Volume) -> None:
    """Delete the volume and raise CloudError with Cinder's reason, so that there are no copies later."""
    connection = context.connection()
    reason = _reason(connection, volume.id)
    connection.block_storage.delete_volume(volume.id, ignore_missing=True)
    context.gone("volume")
    raise CloudError(
        f"Cinder could not build volume {volume.id}, its status was {volume.status}: {reason}; it is deleted, and "
        "resume builds another"
    )


def _reason(connection: Connection, volume_id: str) -> str:
    """Return what Cinder tells users of the volume; its API has that since Ocata."""
    query = {"resource_uuid": volume_id}
    response = connection.block_storage.get("/messages", params=query, microversion=_MESSAGES)
    told = _Messages.model_validate_json(response.content).messages if response.ok else []
    return " ".join(dict.fromkeys(each.user_message for each in told)) or "it does not say why"


def _create(context: Context, original_id: str, attributes: Mapping[str, Any]) -> str:
    from openstack import utils

    cinder = context.connection().block_storage
    attributes = {name: value for name, value in attributes.items() if value is not None}
    if "backup_id" in attributes:
        utils.require_microversion(cinder, FROM_BACKUP)
        backup = cinder.get_backup(attributes["backup_id"])
        if backup.status == "restoring":
            raise StillBuilding(f"backup {backup.id} is being restored elsewhere, and Cinder does one at a time")
        attributes.setdefault("size", backup.size)
    name, mark = _working_name(context, original_id), _mark(context, original_id)
    return cinder.create_volume(**attributes, name=name, metadata=mark).id


def _find(context: Context, original_id: str) -> str | None:
    # One in error is returned too: `build` deletes it.
    return next((each.id for each in _ours(context, original_id) if each.status not in _GOING), None)


def _ours(context: Context, original_id: str) -> list[Volume]:
    """Return what was made for the resource, ready or not."""
    from openstack.block_storage.v3.volume import Volume

    cinder = context.connection().block_storage
    name, mark = _working_name(context, original_id), _mark(context, original_id)
    found = [*cinder.volumes(name=name), *cinder.volumes(properties=json.dumps(mark))]
    volumes = {each.id: each for each in found if isinstance(each, Volume)}
    return [
        each for each in volumes.values() if each.name == name or mark.items() <= (each.metadata or {}).items()
    ]


def _working_name(context: Context, original_id: str) -> str:
    """Return the name until the volume is ready: with a backup Cinder restores metadata, in the place of ours."""
    return f"restore-{context.restore_id}-{original_id}"[:255]


def _mark(context: Context, original_id: str) -> dict[str, str]:
    return {"restore_worker_restore": context.restore_id, "restore_worker_original": original_id}
