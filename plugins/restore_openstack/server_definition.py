"""What a bank holds of a server, and what a user may set for it.

Karbor noted the attachments only of servers that the plan names; of servers below a project it saved none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from restore_openstack.fields import Address, ById, Given, Id, Items
from restore_worker.plugin import Definition, Parameters

SERVER = "OS::Nova::Server"


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
    boot_image_id: Id | None = None
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
    isolated: true leaves out floating IPs, and interfaces on networks that are not restored; as in a drill, and
        always where OS::Neutron::Network is isolated.
    """

    restore_name: Given | None = None
    restore_net_id: Id | None = None
    restore_flavor_id: Given | None = None
    restore_key_name: str | None = None
    restore_availability_zone: Given | None = None
    boot_volume_id: Id | None = None
    floating_ip_ports: Given | None = None
    isolated: bool = False
