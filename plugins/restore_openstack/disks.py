"""What disks a server had.

Where Karbor saved no attachments, the graph's edges tell which volumes a server had: in the order in which Nova
listed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from restore_openstack.server_definition import Attachment, BootMetadata, ServerDefinition
from restore_worker.plugin import Selection
from restore_worker.resource import ResourceKey

VOLUME = "OS::Cinder::Volume"
IMAGE = "OS::Glance::Image"


@dataclass(frozen=True, slots=True)
class Disks:
    """What a server boots from and has attached, by original ids.

    boot_image, boot_volume: one of them; neither if the checkpoint does not hold what it booted from.
    data_volumes: in the order in which they were attached.
    guessed: True if only the graph's order tells which volume it boots from.
    lost: volumes that were attached but are not in the checkpoint with the server, and their devices.
    """

    boot_image: str | None
    boot_volume: str | None
    data_volumes: tuple[str, ...]
    guessed: bool
    lost: tuple[tuple[str, str | None], ...]


def disks_of(server: ResourceKey, definition: ServerDefinition, selection: Selection) -> Disks:
    """Return what disks the server had, from its metadata, its parameters and the graph."""
    children = list(selection.children(server))
    attached = definition.attach_metadata
    there = dict.fromkeys(child.id for child in children if child.type == VOLUME)
    volumes = sorted(there, key=lambda volume: _device_order(attached.get(volume)))
    images = [child.id for child in children if child.type == IMAGE]
    boot = definition.boot_metadata or BootMetadata(boot_device_type="image" if images else "volume")
    chosen = selection.parameters(server).boot_volume_id
    image = volume = None
    guessed = False
    if boot.boot_device_type == "image" and chosen is None:
        image = boot.boot_image_id or next(iter(images), None)
    else:
        volume, guessed = _boot_volume(chosen or boot.boot_volume_id, volumes, attached)
    return Disks(
        boot_image=image,
        boot_volume=volume,
        data_volumes=tuple(each for each in volumes if each != volume),
        guessed=guessed,
        lost=tuple((each, attached[each].device) for each in attached if each not in there),
    )


def _device_order(attachment: Attachment | None) -> tuple[bool, int, str]:
    """Sort /dev/vdb before /dev/vdaa, and what has no device last, as it came."""
    device = attachment.device if attachment and attachment.device else ""
    return not device, len(device), device


def _boot_volume(
    named: str | None, volumes: Sequence[str], attached: dict[str, Attachment]
) -> tuple[str | None, bool]:
    """Return the volume to boot from, of ``volumes`` in device order, and whether it is a guess."""
    if named is not None or not volumes:
        return (named if named in volumes else None), False
    bootable = [each for each in volumes if each in attached and attached[each].bootable == "true"]
    volume = (bootable or volumes)[0]
    known = volume in attached and bool(attached[volume].device or len(bootable) == 1)
    return volume, len(volumes) > 1 and not known
