"""What a server's metadata holds, and what disks the server had.

Karbor noted the attachments only of servers that the plan names. Of servers below a project it saved none, and
then the graph's edges tell which volumes they had: in the order in which Nova listed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from restore_openstack.fields import Address, ById, Given, Id, Items
from restore_worker.plugin import Definition, Parameters, Selection
from restore_worker.resource import ResourceKey

SERVER = "OS::Nova::Server"
VOLUME = "OS::Cinder::Volume"
IMAGE = "OS::Glance::Image"


def _device_only(value: Any) -> Any:
    """Before 2017 nothing but the device's name was saved of an attachment."""
    return {"device": value} if value is None or isinstance(value, str) else value


class Attachment(Definition):
    """How a volume was attached.

    bootable: the volume's flag, as text.
    """

    device: str | None = None
    bootable: str | None = None


class BootMetadata(Definition):
    """What the server booted from, as far as Karbor knew."""

    boot_device_type: Literal["image", "volume"]
    boot_image_id: str | None = None
    boot_volume_id: str | None = None


class SecurityGroupName(Definition):
    """A security group as Nova shows it: once for each port."""

    name: str


class ServerMetadata(Definition):
    """What Nova told of the server.

    networks: ids, each once.
    floating_ips: addresses.
    flavor: id.
    """

    flavor: str
    availability_zone: str | None = None
    key_name: str | None = None
    networks: Items[Id] = ()
    floating_ips: Items[Address] = ()
    security_groups: Items[SecurityGroupName] = ()


class ServerDefinition(Definition):
    """The metadata of a server in the bank.

    attach_metadata: by volume id.
    snapshot_id: only before 2017: the server's own disk as an image snapshot, in chunks of its own.
    """

    server_metadata: ServerMetadata
    attach_metadata: ById[Annotated[Attachment, BeforeValidator(_device_only)]] = Field(default_factory=dict)
    boot_metadata: BootMetadata | None = None
    snapshot_id: str | None = None


class ServerParameters(Parameters):
    """What a user may set for a server.

    restore_name: instead of the original's.
    restore_net_id: id of a network of the target; the server gets one interface on it, and none of its own.
    restore_flavor_id: instead of the original's.
    restore_key_name: key pair of the user who restores; "" for none.
    restore_availability_zone: a zone of the target.
    boot_volume_id: original id of the volume to boot from.
    floating_ip_ports: original ids or fixed addresses of the ports that the floating addresses lead to, in the
        order of these, with commas.
    """

    restore_name: Given | None = None
    restore_net_id: Id | None = None
    restore_flavor_id: Given | None = None
    restore_key_name: str | None = None
    restore_availability_zone: Given | None = None
    boot_volume_id: Id | None = None
    floating_ip_ports: Given | None = None


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
