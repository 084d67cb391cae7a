"""Protects an application: writes a checkpoint, in Karbor's format, of what runs in a cloud.

Servers, images and networks are described as Karbor's plugins describe them, images with the bytes that servers
were booted from (no server is snapshotted). Volumes are saved as Cinder backups, or with their bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from openstack.connection import Connection

from tests.cloud.checkpoint_writer import CheckpointWriter, Graph, GraphNode, Header, writing
from tests.cloud.images import Image, download, read_image
from tests.cloud.servers import Server, read_server
from tests.cloud.topology import Fields, read_topology
from tests.cloud.volumes import Volume, as_image, await_backup, begin_backup, read_volume

_SERVER = "OS::Nova::Server"
_VOLUME = "OS::Cinder::Volume"
_IMAGE = "OS::Glance::Image"
_NETWORK = "OS::Neutron::Network"
# Karbor's chunks, in bytes.
_IMAGE_CHUNK = 655_360
_VOLUME_CHUNK = 33_554_432
# What Karbor kept of each of Neutron's objects. Of a router's state it kept nothing, by mistake.
_KEPT = {
    "network_metadata": "id admin_state_up availability_zone_hints description ipv4_address_scope ipv6_address_scope"
    " mtu name port_security_enabled router:external shared status subnets tags tenant_id",
    "subnet_metadata": "id cidr allocation_pools description dns_nameservers enable_dhcp gateway_ip host_routes"
    " ip_version ipv6_address_mode ipv6_ra_mode name network_id subnetpool_id tenant_id",
    "port_metadata": "id admin_state_up allowed_address_pairs description device_id device_owner extra_dhcp_opts"
    " fixed_ips mac_address name network_id port_security_enabled security_groups status tenant_id",
    "router_metadata": "id availability_zone_hints description external_gateway_info name routes status",
    "security-group_metadata": "id description name security_group_rules tenant_id",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to protect, by id.

    servers: with all volumes that are attached to them, and the images that they were booted from.
    volumes: others.
    networks: with all that belongs to them; None for all of the project, as Karbor saved them, () for none.
    """

    name: str
    servers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Protected:
    """A checkpoint, and what in the cloud it needs.

    backups: Cinder backup by volume id.
    """

    checkpoint: str
    backups: dict[str, str]


def protect(cloud: Connection, plan: Plan, bank: Path, *, with_bytes: Collection[str] = ()) -> Protected:
    """Write a checkpoint of the resources in the plan, and return once it can be restored.

    bank: directory; Karbor's container is made in it if it is not there.
    with_bytes: ids of volumes whose bytes are saved in the bank; the others get a Cinder backup each.
    Raises openstacksdk's errors; the checkpoint is left in status ``error`` then, and backups stay.
    """
    application = _look(cloud, plan)
    graph = _graph(application, with_networks=plan.networks != ())
    header = Header(
        project_id=application.project_id,
        plan_id=str(uuid.uuid5(uuid.NAMESPACE_OID, plan.name)),
        plan_name=plan.name,
        provider_id=str(uuid.uuid5(uuid.NAMESPACE_OID, "restore-worker")),
        roots=graph.roots,
    )
    with writing(bank, header) as checkpoint:
        # Cinder works on them while all else is written.
        backups = {
            volume.id: begin_backup(cloud, volume, f"{plan.name}-{volume.name or volume.id}")
            for volume in application.volumes.values()
            if volume.id not in with_bytes
        }
        for server in application.servers:
            checkpoint.metadata(server.id, _server(cloud, server, application.volumes))
        for image in application.images.values():
            checkpoint.metadata(image.id, _image(cloud, image, checkpoint))
        if plan.networks != ():
            checkpoint.metadata(application.project_id, _topology(cloud, application.project_id, plan.networks))
        for volume in application.volumes.values():
            if volume.id in backups:
                await_backup(cloud, backups[volume.id])
                metadata = {"volume_id": volume.id, "backup_id": backups[volume.id]}
            else:
                metadata = _volume_bytes(cloud, volume, checkpoint)
            checkpoint.metadata(volume.id, metadata)
        checkpoint.finish(graph)
    return Protected(checkpoint.id, backups)


@dataclass(frozen=True, slots=True)
class _Application:
    """What a plan names, as it runs.

    volumes, images: by id.
    loose: ids of the volumes that no server has.
    """

    project_id: str
    servers: list[Server]
    volumes: dict[str, Volume]
    images: dict[str, Image]
    loose: list[str]


def _look(cloud: Connection, plan: Plan) -> _Application:
    servers = [read_server(cloud, server_id) for server_id in plan.servers]
    attached = [volume_id for server in servers for volume_id in server.volumes]
    images = dict.fromkeys(server.image for server in servers if server.image)
    return _Application(
        project_id=str(cloud.current_project_id),
        servers=servers,
        volumes={each: read_volume(cloud, each) for each in dict.fromkeys((*attached, *plan.volumes))},
        images={each: read_image(cloud, each) for each in images},
        loose=[each for each in plan.volumes if each not in attached],
    )


def _graph(application: _Application, *, with_networks: bool) -> Graph:
    graph = Graph()
    for server in application.servers:
        children = [_volume_node(application.volumes[each]) for each in server.volumes]
        if server.image:
            name = application.images[server.image].name
            children.insert(0, GraphNode(_IMAGE, server.image, name, {"server_id": server.id}))
        graph.add(GraphNode(_SERVER, server.id, server.name), children)
    if with_networks:
        graph.add(GraphNode(_NETWORK, application.project_id, "Network Topology"))
    for each in application.loose:
        node = _volume_node(application.volumes[each])
        # What a plan says, Karbor keeps as text.
        graph.add(node._replace(extra_info=json.dumps(node.extra_info)))
    return graph


def _volume_node(volume: Volume) -> GraphNode:
    return GraphNode(_VOLUME, volume.id, volume.name, {"availability_zone": volume.availability_zone})


def _server(cloud: Connection, server: Server, volumes: Mapping[str, Volume]) -> Fields:
    attached = {
        each: attachment | {"bootable": "true" if volumes[each].bootable else "false"}
        for each in server.volumes
        for attachment in volumes[each].attachments
        if attachment["server_id"] == server.id
    }
    boot: Fields = {"boot_device_type": "image", "boot_image_id": server.image}
    if server.image is None:
        boot = {"boot_device_type": "volume"}
        for each, attachment in attached.items():
            if attachment["bootable"] == "true":
                boot |= {"boot_volume_id": each, "boot_attach_metadata": attachment}
    ports = {port.mac_address: port for port in cloud.network.ports(device_id=server.id)}
    # Nova learns of floating IPs late.
    floating = [each for port in ports.values() for each in cloud.network.ips(port_id=port.id)]
    kept = {
        "availability_zone": server.availability_zone,
        "networks": list(dict.fromkeys(ports[mac].network_id for mac in server.macs)),
        "floating_ips": [each.floating_ip_address for each in floating],
        "flavor": server.flavor,
        "key_name": server.key_name,
        "security_groups": server.security_groups,
    }
    return {
        "resource_id": server.id,
        "attach_metadata": attached,
        "boot_metadata": boot,
        "server_metadata": kept,
    }


def _image(cloud: Connection, image: Image, checkpoint: CheckpointWriter) -> Fields:
    stored = checkpoint.chunks(image.id, download(cloud, image.id), _IMAGE_CHUNK)
    return {
        "resource_id": image.id,
        "image_metadata": _format(image, stored.checksum),
        "chunks_num": stored.chunks,
    }


def _volume_bytes(cloud: Connection, volume: Volume, checkpoint: CheckpointWriter) -> Fields:
    with as_image(cloud, volume) as image:
        stored = checkpoint.chunks(volume.id, download(cloud, image.id), _VOLUME_CHUNK)
    return {
        "volume_id": volume.id,
        "volume_size": volume.size,
        "chunks_num": stored.chunks,
        "image_metadata": _format(image, stored.checksum),
    }


def _format(image: Image, checksum: str) -> Fields:
    return {
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "checksum": checksum,
    }


def _topology(cloud: Connection, project_id: str, networks: Collection[str] | None) -> Fields:
    topology = read_topology(cloud, networks)
    objects = (topology.networks, topology.subnets, topology.ports, topology.routers, topology.groups)
    kept: Fields = {"resource_id": project_id, "backup_name": "karbor network backup"}
    for (part, names), found in zip(_KEPT.items(), objects, strict=True):
        kept[part] = {each["id"]: {name: each[name] for name in names.split()} for each in found}
    return kept
