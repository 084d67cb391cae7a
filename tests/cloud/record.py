"""Records an application as the OpenStack APIs, and the files of its volumes, show it at one moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from tests.cloud.disks import digest, volume_file
from tests.cloud.images import download
from tests.cloud.records import (
    GroupRecord,
    ImageRecord,
    NetworkRecord,
    PortRecord,
    Record,
    Reference,
    RouterRecord,
    ServerRecord,
    SubnetRecord,
    VolumeRecord,
)
from tests.cloud.servers import Server, read_server
from tests.cloud.topology import INTERFACE, Fields, Topology, read_topology


@dataclass(frozen=True, slots=True)
class Scope:
    """What belongs to an application, by id; images, ports and all else follow from it."""

    servers: tuple[str, ...]
    volumes: tuple[str, ...]
    networks: tuple[str, ...]

    def mapped(self, ids: Mapping[str, str]) -> Scope:
        """Return the same of a restored application; what did not come back is left out."""
        parts = (self.servers, self.volumes, self.networks)
        return Scope(*(tuple(ids[each] for each in part if each in ids) for part in parts))


def record(cloud: Connection, disks: Path, scope: Scope) -> dict[str, Record]:
    """Return all that belongs to an application, by id.

    disks: folder of the cloud's volumes.
    Raises openstacksdk's errors, and pydantic's if an API tells something unknown.
    """
    servers = [read_server(cloud, server_id) for server_id in scope.servers]
    records: dict[str, Record] = {each.id: _server(cloud, each) for each in servers}
    records |= {each: _volume(cloud, disks, each) for each in scope.volumes}
    records |= {each.image: _image(cloud, each.image) for each in servers if each.image}
    return records | dict(_topology(read_topology(cloud, scope.networks)))


def _server(cloud: Connection, server: Server) -> ServerRecord:
    ports = {port.mac_address: port.id for port in cloud.network.ports(device_id=server.id)}
    floating = [each for port in ports.values() for each in cloud.network.ips(port_id=port)]
    devices = {each.volume_id: each.device for each in cloud.compute.volume_attachments(server.id)}
    volumes = sorted(devices, key=lambda volume: (len(devices[volume]), devices[volume]))
    told = server.model_dump(exclude={"status", "addresses", "volumes", "security_groups"})
    joined = {
        "power_state": server.status,
        "nics": [ports[mac] for mac in server.macs],
        "security_groups": {group["name"] for group in server.security_groups},
        "volumes": volumes,
        "mountpoint": [devices[volume] for volume in volumes],
        "floating_ips": {each.floating_ip_address for each in floating},
        "floating_ip_ports": {
            (Reference(each.port_id), each.fixed_ip_address, Reference(each.floating_network_id))
            for each in floating
        },
    }
    return ServerRecord.model_validate(told | joined)


def _volume(cloud: Connection, disks: Path, volume_id: str) -> VolumeRecord:
    volume = _fields(cloud.block_storage.get_volume(volume_id))
    return VolumeRecord.model_validate(volume | {"content": digest(volume_file(disks, volume_id))})


def _image(cloud: Connection, image_id: str) -> ImageRecord:
    image = _fields(cloud.image.get_image(image_id))
    content = hashlib.sha256()
    for piece in download(cloud, image_id):
        content.update(piece)
    return ImageRecord.model_validate(image | {"content": content.hexdigest()})


def _topology(topology: Topology) -> Iterator[tuple[str, Record]]:
    ports = [port for port in topology.ports if not port["device_owner"].startswith("network:")]
    yield from _parsed(NetworkRecord, topology.networks)
    yield from _parsed(SubnetRecord, topology.subnets)
    yield from _parsed(PortRecord, ports)
    yield from _parsed(RouterRecord, (_router(router, topology) for router in topology.routers))
    yield from _parsed(
        GroupRecord,
        (each | {"security_group_rules.description": each["security_group_rules"]} for each in topology.groups),
    )


def _router(router: Fields, topology: Topology) -> Fields:
    ports = [each for each in topology.ports if each["device_owner"] == INTERFACE]
    gateway = router["external_gateway_info"] or {}
    return router | {
        "interfaces": [ip for port in ports if port["device_id"] == router["id"] for ip in port["fixed_ips"]],
        "external_gateway_info.external_fixed_ips": gateway.get("external_fixed_ips", ()),
    }


def _parsed(model: type[Record], objects: Iterable[Fields]) -> Iterator[tuple[str, Record]]:
    return ((each["id"], model.model_validate(each)) for each in objects)


def _fields(resource: Any) -> Fields:
    fields: Fields = resource.to_dict(computed=False, original_names=True)
    return fields
