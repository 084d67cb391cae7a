"""A server as Nova tells of it."""

from __future__ import annotations

from typing import Annotated, Any

from openstack import exceptions
from openstack.connection import Connection
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# The last ones that tell a flavor's id, rather than what it is made of, end with 2.46; tags came with 2.26.
_MICROVERSION = "2.26"


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Address(_Model):
    """An address of one of a server's interfaces."""

    mac: str = Field(alias="OS-EXT-IPS-MAC:mac_addr")


def _id(value: Any) -> Any:
    """Take the id of what Nova refers to; it says "" for nothing."""
    return value["id"] if isinstance(value, dict) and "id" in value else value or None


Reference = Annotated[str, BeforeValidator(_id)]


class Server(_Model):
    """A server.

    image: None if it boots from a volume.
    addresses: by the name of the network, in the order of the interfaces.
    """

    id: str
    name: str
    status: str
    flavor: Reference
    image: Annotated[str | None, BeforeValidator(_id)]
    key_name: str | None
    availability_zone: str | None = Field(alias="OS-EXT-AZ:availability_zone")
    addresses: dict[str, list[Address]]
    volumes: list[Reference] = Field(alias="os-extended-volumes:volumes_attached")
    security_groups: list[dict[str, str]] = []
    metadata: dict[str, str]
    description: str | None
    tags: list[str]
    config_drive: str

    @property
    def macs(self) -> list[str]:
        """MAC addresses of the interfaces, in their order."""
        return list(dict.fromkeys(each.mac for group in self.addresses.values() for each in group))


def read_server(cloud: Connection, server_id: str) -> Server:
    """Return a server; openstacksdk's errors if there is none, pydantic's if Nova tells something unknown of it."""
    response = cloud.compute.get(f"/servers/{server_id}", microversion=_MICROVERSION)
    exceptions.raise_from_response(response)
    return Server.model_validate(response.json()["server"])
