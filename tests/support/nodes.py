"""Nodes of Karbor's resource types, with the metadata that Karbor's protection plugins keep of them.

Whatever a test wants otherwise it passes by name: the ``fields`` of a function replace or add to Neutron's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.support.banks import Node, chunked

PROJECT = "OS::Keystone::Project"
SERVER = "OS::Nova::Server"
VOLUME = "OS::Cinder::Volume"
IMAGE = "OS::Glance::Image"
NETWORK = "OS::Neutron::Network"
SHARE = "OS::Manila::Share"
STACK = "OS::Heat::Stack"
DATABASE = "OS::Trove::Instance"

Fields = dict[str, Any]


def project(project_id: str, name: str = "shop") -> Node:
    """Return a project: it keeps nothing."""
    return Node(PROJECT, project_id, name)


def volume(volume_id: str, name: str = "", **metadata: Any) -> Node:
    """Return a volume saved as Cinder backup, or in the way that ``metadata`` says (``snapshot_id`` and ``size``)."""
    kept = metadata or {"backup_id": f"backup-of-{volume_id}"}
    return Node(VOLUME, volume_id, name, {"availability_zone": "nova"}, {"volume_id": volume_id, **kept})


def image(
    image_id: str,
    name: str = "",
    data: bytes = b"QFI\xfb",
    *,
    chunk_size: int = 65536,
    python: int = 2,
    server_id: str | None = None,
) -> Node:
    """Return an image whose bytes are in the bank; with ``server_id`` they are a snapshot of that server."""
    chunks = chunked(data, chunk_size, python)
    snapshot = {} if server_id is None else {"server_id": server_id}
    metadata = {
        "resource_id": image_id,
        **snapshot,
        "image_metadata": {"disk_format": "qcow2", "container_format": "bare", "checksum": _md5(data)},
        "chunks_num": len(chunks),
    }
    return Node(IMAGE, image_id, name, snapshot or None, metadata, chunks=chunks)


def volume_image(
    volume_id: str, name: str = "", data: bytes = b"\0" * 512, *, chunk_size: int = 65536, python: int = 2
) -> Node:
    """Return a volume saved through Glance: its bytes are in the bank."""
    chunks = chunked(data, chunk_size, python)
    metadata = {
        "volume_id": volume_id,
        "volume_size": 1,
        "chunks_num": len(chunks),
        "image_metadata": {"checksum": _md5(data), "disk_format": "raw", "container_format": "bare"},
    }
    return Node(VOLUME, volume_id, name, {"availability_zone": "nova"}, metadata, chunks=chunks)


def server(
    server_id: str,
    name: str = "",
    *,
    boot: str,
    from_volume: bool = False,
    data_volumes: Sequence[str] = (),
    root: bool = True,
    **fields: Any,
) -> Node:
    """Return a server.

    boot: id of the image or volume that it boots from.
    root: False: another node depends on it, and Karbor leaves the volumes out.
    fields: those of ``server_metadata``.
    """
    volumes = [boot, *data_volumes] if from_volume else list(data_volumes)
    attached = {
        volume_id: _attachment(server_id, volume_id, number + (not from_volume), bootable=volume_id == boot)
        for number, volume_id in enumerate(volumes)
    }
    boots: Fields = {"boot_device_type": "image", "boot_image_id": boot}
    if from_volume:
        boots = {"boot_device_type": "volume"}
        if root:
            boots |= {"boot_volume_id": boot, "boot_attach_metadata": attached[boot]}
    kept: Fields = {
        "availability_zone": "nova",
        "networks": [],
        "floating_ips": [],
        "flavor": "2",
        "key_name": None,
        "security_groups": [],
    }
    metadata = {
        "resource_id": server_id,
        "attach_metadata": attached if root else {},
        "boot_metadata": boots,
        "server_metadata": kept | fields,
    }
    return Node(SERVER, server_id, name, None, metadata)


def _attachment(server_id: str, volume_id: str, number: int, *, bootable: bool) -> Fields:
    return {
        "server_id": server_id,
        "attachment_id": f"attachment-of-{volume_id}",
        "attached_at": "2019-12-02T10:01:00.000000",
        "host_name": "compute-01",
        "volume_id": volume_id,
        "device": f"/dev/vd{chr(ord('a') + number)}",
        "id": volume_id,
        "bootable": "true" if bootable else "false",
    }


def share(share_id: str, name: str = "", **fields: Any) -> Node:
    """Return a share saved as Manila snapshot; fields: replace those of the metadata."""
    kept = {
        "share_id": share_id,
        "size": 25,
        "share_proto": "NFS",
        "share_type": "type-1",
        "share_network_id": "share-network-1",
        "snapshot_id": f"snapshot-of-{share_id}",
    }
    return Node(SHARE, share_id, name, None, kept | fields)


def database(instance_id: str, name: str = "", **fields: Any) -> Node:
    """Return a database instance saved as Trove backup; fields: replace those of the metadata."""
    kept = {
        "instance_id": instance_id,
        "datastore": {"type": "mysql", "version": "5.7.29"},
        "flavor": {"id": "7", "links": [{"rel": "self", "href": "https://trove.example.net/flavors/7"}]},
        "size": 12,
        "backup_id": f"backup-of-{instance_id}",
    }
    return Node(DATABASE, instance_id, name, None, kept | fields)


def stack(stack_id: str, name: str = "", **fields: Any) -> Node:
    """Return a stack that Heat managed, its volumes saved as Cinder backups; fields: replace those of the metadata."""
    kept = {
        "resource_id": stack_id,
        "template": MANAGED,
        "files": {"file:///disk.yaml": NESTED},
        "environment": {},
        "parameters": {"flavor": "m1.small", "image": "image-1", "key": "ops"},
        "hidden": ["password"],
        "tags": ["theirs"],
        "timeout_mins": 60,
        "volumes": [
            {"path": "data", "backup_id": f"backup-of-{stack_id}"},
            {"path": "extra/disk", "backup_id": f"second-of-{stack_id}"},
        ],
    }
    return Node(STACK, stack_id, name, None, kept | fields)


NESTED = """
heat_template_version: '2018-08-31'
resources:
  disk: {type: OS::Cinder::Volume, properties: {size: 1}}
  watcher: {type: OS::Heat::SoftwareConfig}
"""
MANAGED = """
heat_template_version: '2018-08-31'
parameters:
  flavor: {type: string, constraints: [{custom_constraint: nova.flavor}]}
  image: {type: string}
  key: {type: string}
  password: {type: string, hidden: true, default: none}
resources:
  size: {type: OS::Heat::Value, properties: {value: 2}}
  data: {type: OS::Cinder::Volume, properties: {size: {get_attr: [size, value]}}}
  extra: {type: 'file:///disk.yaml'}
  web:
    type: OS::Nova::Server
    properties: {flavor: {get_param: flavor}, image: {get_param: image}, key_name: {get_param: key}}
  attachment:
    type: OS::Cinder::VolumeAttachment
    properties: {instance_uuid: {get_resource: web}, volume_id: {get_resource: data}}
"""


def network(
    project_id: str,
    *,
    networks: Iterable[Fields] = (),
    subnets: Iterable[Fields] = (),
    ports: Iterable[Fields] = (),
    routers: Iterable[Fields] = (),
    groups: Iterable[Fields] = (),
) -> Node:
    """Return the one node of a project's whole network topology, its id being that of the project."""
    metadata: Mapping[str, Any] = {
        "resource_id": project_id,
        "backup_name": "karbor network backup",
        "network_metadata": {each["id"]: each for each in networks},
        "subnet_metadata": {each["id"]: each for each in subnets},
        "port_metadata": {each["id"]: each for each in ports},
        "router_metadata": {each["id"]: each for each in routers},
        "security-group_metadata": {each["id"]: each for each in groups},
    }
    return Node(NETWORK, project_id, "Network Topology", None, metadata)


def net(net_id: str, name: str = "", subnets: Iterable[str] = (), **fields: Any) -> Fields:
    """Return one network of the topology."""
    return {
        "id": net_id,
        "name": name,
        "admin_state_up": True,
        "availability_zone_hints": [],
        "description": "",
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "mtu": 1450,
        "port_security_enabled": True,
        "tenant_id": "",
        "router:external": False,
        "shared": False,
        "status": "ACTIVE",
        "subnets": list(subnets),
        "tags": [],
        **fields,
    }


def subnet(subnet_id: str, network_id: str, cidr: str, gateway_ip: str | None, **fields: Any) -> Fields:
    """Return a subnet of the network."""
    return {
        "id": subnet_id,
        "name": "",
        "network_id": network_id,
        "cidr": cidr,
        "ip_version": 6 if ":" in cidr else 4,
        "gateway_ip": gateway_ip,
        "allocation_pools": [],
        "dns_nameservers": [],
        "enable_dhcp": True,
        "host_routes": [],
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "subnetpool_id": None,
        "description": "",
        "tenant_id": "",
        **fields,
    }


def port(port_id: str, network_id: str, addresses: Mapping[str, str], **fields: Any) -> Fields:
    """Return a port; addresses: by subnet id. Without ``device_id`` and ``device_owner`` it is unbound."""
    return {
        "id": port_id,
        "name": "",
        "network_id": network_id,
        "device_owner": "",
        "device_id": "",
        "mac_address": "fa:16:3e:00:00:01",
        "admin_state_up": True,
        "status": "ACTIVE",
        "description": "",
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "fixed_ips": [{"subnet_id": key, "ip_address": value} for key, value in addresses.items()],
        "port_security_enabled": True,
        "security_groups": [],
        "tenant_id": "",
        **fields,
    }


def router(router_id: str, name: str = "", external_network: str | None = None, **fields: Any) -> Fields:
    """Return a router, with a gateway if it has an external network."""
    gateway: Fields = {"network_id": external_network, "enable_snat": True, "external_fixed_ips": []}
    return {
        "id": router_id,
        "name": name,
        "availability_zone_hints": [],
        "description": "",
        "external_gateway_info": gateway if external_network else None,
        "routes": [],
        "status": "ACTIVE",
        **fields,
    }


def group(group_id: str, name: str = "", rules: Iterable[Fields] = (), **fields: Any) -> Fields:
    """Return a security group: Neutron's two egress rules, then ``rules`` (see `rule`)."""
    egress = [rule(direction="egress", ethertype=kind, description=None) for kind in ("IPv4", "IPv6")]
    owned = [
        each | {"id": f"{group_id}-rule-{number}", "security_group_id": group_id}
        for number, each in enumerate([*egress, *rules])
    ]
    return {
        "id": group_id,
        "name": name,
        "description": "",
        "security_group_rules": owned,
        "tenant_id": "",
        **fields,
    }


def rule(**fields: Any) -> Fields:
    """Return a rule of a group: all that comes in over IPv4, unless ``fields`` say otherwise."""
    return {
        "id": "",
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "security_group_id": "",
        "description": "",
        "project_id": "",
        "tenant_id": "",
        "revision_number": 0,
        "tags": [],
        "created_at": "2019-11-05T09:11:00Z",
        "updated_at": "2019-11-05T09:11:00Z",
        **fields,
    }


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
