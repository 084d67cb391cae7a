"""An application in a cloud, to be protected, lost and restored: networks, security groups, servers, volumes.

Everything in it that can have a name begins with the application's: `tests.cloud.removal` goes by that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from tests.cloud.disks import fill, volume_file

_MIB = 2**20
# Seconds that one thing may take on a loaded machine.
_PATIENCE = 300
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICehjXmxaNH209Cse17uCZvAMA1OQqcYmiu4WVV7/rII"
_ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Application:
    """What `build` made, by id.

    web: server that boots from ``image``, with ``data`` attached in that order and a floating IP.
    db: server that boots from the volume ``boot``, with ``db_data`` attached in that order and a port in both networks.
    loose: volume that no server has.
    more, more_volumes: servers and volumes that a test has added.
    """

    name: str
    networks: tuple[str, ...]
    image: str
    web: str
    db: str
    boot: str
    data: tuple[str, ...]
    db_data: tuple[str, ...]
    loose: str
    more: tuple[str, ...] = ()
    more_volumes: tuple[str, ...] = ()

    @property
    def servers(self) -> tuple[str, ...]:
        """Both servers."""
        return (self.web, self.db)

    @property
    def volumes(self) -> tuple[str, ...]:
        """All volumes."""
        return (self.boot, *self.data, *self.db_data, self.loose)


@dataclass(frozen=True, slots=True)
class _Networks:
    """Ids of the two networks, their subnets and the groups."""

    front: str
    back: str
    front_subnet: str
    back_subnet: str
    web_group: str
    db_group: str


def build(cloud: Connection, name: str, disks: Path, *, public: str = "public", image_mib: int = 3) -> Application:
    """Build the application in the connection's project and return it once all of it works.

    name: unique in the project.
    disks: folder of the cloud's volumes.
    public: name or id of the external network.
    image_mib: size of the image; its bytes, and those of the volumes, follow from ``name``.
    Raises openstacksdk's errors, ResourceTimeout if something is not there after five minutes.
    """
    chance = random.Random(name)
    image = _image(cloud, f"{name}-image", chance.randbytes(image_mib * _MIB))
    volumes = [
        cloud.block_storage.create_volume(name=f"{name}-boot", size=1, imageRef=image),
        cloud.block_storage.create_volume(name=f"{name}-data-1", size=1, volume_type="standard"),
        cloud.block_storage.create_volume(name=f"{name}-data-2", size=2, volume_type="standard"),
        cloud.block_storage.create_volume(name=f"{name}-db-1", size=1, volume_type="standard"),
        cloud.block_storage.create_volume(name=f"{name}-db-2", size=1, volume_type="standard"),
        cloud.block_storage.create_volume(name=f"{name}-loose", size=1, volume_type="standard"),
    ]
    cloud.compute.create_keypair(name=f"{name}-key", public_key=PUBLIC_KEY)
    networks = _networks(cloud, name, public)
    for volume in volumes:
        cloud.block_storage.wait_for_status(volume, "available", ["error"], interval=1, wait=_PATIENCE)
        fill(volume_file(disks, volume.id), chance)
    boot, first, second, first_of_db, second_of_db, loose = (str(volume.id) for volume in volumes)
    web, db = _servers(cloud, name, networks, image=image, boot=boot)
    # The database's in another order than they were made in.
    data, db_data = (first, second), (second_of_db, first_of_db)
    for server, attached in ((web, data), (db, db_data)):
        for volume_id in attached:
            _attach(cloud, server, volume_id)
    port = next(iter(cloud.network.ports(device_id=web)))
    external = cloud.network.find_network(public, ignore_missing=False).id
    cloud.network.create_ip(floating_network_id=external, port_id=port.id)
    return Application(name, (networks.front, networks.back), image, web, db, boot, data, db_data, loose)


def add_volume(cloud: Connection, name: str, server: str, disks: Path) -> str:
    """Attach another volume of 1 GiB to a server and return its id; disks: as of `build`."""
    volume = cloud.block_storage.create_volume(name=name, size=1, volume_type="standard")
    cloud.block_storage.wait_for_status(volume, "available", ["error"], interval=0.5, wait=_PATIENCE)
    fill(volume_file(disks, volume.id), random.Random(name))
    _attach(cloud, server, volume.id)
    return str(volume.id)


def _image(cloud: Connection, name: str, data: bytes) -> str:
    image = cloud.image.create_image(name, data=data, disk_format="raw", container_format="bare", wait=True)
    return str(image.id)


def _networks(cloud: Connection, name: str, public: str) -> _Networks:
    neutron = cloud.network
    front = neutron.create_network(name=f"{name}-front", description="where clients come in").id
    back = neutron.create_network(name=f"{name}-back").id
    neutron.put(f"/networks/{front}/tags/tier-front")
    front_subnet = neutron.create_subnet(
        name=f"{name}-front",
        network_id=front,
        ip_version=4,
        cidr="10.71.1.0/24",
        gateway_ip="10.71.1.1",
        allocation_pools=[
            {"start": "10.71.1.16", "end": "10.71.1.99"},
            {"start": "10.71.1.128", "end": "10.71.1.200"},
        ],
        dns_nameservers=["9.9.9.9", "1.1.1.1"],
        host_routes=[{"destination": "10.99.0.0/16", "nexthop": "10.71.1.254"}],
    ).id
    # Without a gateway: the router's interface there needs a port of its own.
    back_subnet = neutron.create_subnet(
        name=f"{name}-back",
        network_id=back,
        ip_version=4,
        cidr="10.72.0.0/20",
        gateway_ip=None,
        enable_dhcp=False,
    ).id
    external = neutron.find_network(public, ignore_missing=False).id
    router = neutron.create_router(name=f"{name}-edge", external_gateway_info={"network_id": external})
    neutron.add_interface_to_router(router, subnet=front_subnet)
    leg = neutron.create_port(
        name=f"{name}-leg",
        network_id=back,
        fixed_ips=[{"subnet_id": back_subnet, "ip_address": "10.72.3.254"}],
        security_groups=[],
    )
    neutron.add_interface_to_router(router, port=leg.id)
    neutron.update_router(router, routes=[{"destination": "192.168.7.0/24", "nexthop": "10.71.1.20"}])
    return _Networks(front, back, front_subnet, back_subnet, *_groups(cloud, name))


def _groups(cloud: Connection, name: str) -> tuple[str, str]:
    """Make two groups that refer to each other; the second one lets little out."""
    neutron = cloud.network
    web = neutron.create_security_group(name=f"{name}-web", description="web from anywhere").id
    db = neutron.create_security_group(name=f"{name}-db", description="").id
    for rule in list(neutron.security_group_rules(security_group_id=db)):
        neutron.delete_security_group_rule(rule)

    def allow(group: str, direction: str, protocol: str | None = None, ports: Any = None, **fields: str) -> None:
        first, last = ports if isinstance(ports, tuple) else (ports, ports)
        neutron.create_security_group_rule(
            security_group_id=group,
            direction=direction,
            ethertype="IPv6" if ":" in fields.get("remote_ip_prefix", "") else "IPv4",
            protocol=protocol,
            port_range_min=first,
            port_range_max=last,
            **fields,
        )

    allow(web, "ingress", "tcp", 443, remote_ip_prefix=_ANYWHERE, description="everybody")
    allow(web, "ingress", "tcp", 443, remote_ip_prefix="::/0")
    allow(web, "ingress", "tcp", (8000, 8080), remote_ip_prefix="198.51.100.0/24")
    allow(web, "ingress", "icmp", (8, 0))
    allow(web, "ingress", "tcp", 9100, remote_group_id=db)
    allow(db, "ingress", "tcp", 5432, remote_group_id=web)
    allow(db, "ingress", remote_group_id=db)
    allow(db, "ingress", "vrrp")
    allow(db, "egress", "udp", 53)
    allow(db, "egress", remote_ip_prefix="10.72.0.0/20")
    return web, db


def _servers(cloud: Connection, name: str, networks: _Networks, *, image: str, boot: str) -> tuple[str, str]:
    def port(role: str, network: str, subnet: str, address: str, mac: str, group: str) -> dict[str, str]:
        made = cloud.network.create_port(
            name=f"{name}-{role}",
            network_id=network,
            fixed_ips=[{"subnet_id": subnet, "ip_address": address}],
            mac_address=mac,
            security_groups=[group],
        )
        return {"port": made.id}

    front, back = (networks.front, networks.front_subnet), (networks.back, networks.back_subnet)
    to_web = port("web", *front, "10.71.1.20", "fa:16:3e:71:01:20", networks.web_group)
    # The first interface is in the network that was made last.
    to_db = port("db", *back, "10.72.3.7", "fa:16:3e:72:03:07", networks.db_group)
    from_db = port("db-front", *front, "10.71.1.130", "fa:16:3e:71:01:82", networks.web_group)
    flavors = {flavor.name: flavor.id for flavor in cloud.compute.flavors()}
    disk = {"uuid": boot, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
    web = cloud.compute.create_server(
        name=f"{name}-web",
        flavor_id=flavors["m1.small"],
        image_id=image,
        key_name=f"{name}-key",
        networks=[to_web],
    )
    db = cloud.compute.create_server(
        name=f"{name}-db", flavor_id=flavors["m1.tiny"], block_device_mapping=[disk], networks=[to_db, from_db]
    )
    for server in (web, db):
        cloud.compute.wait_for_server(server, wait=_PATIENCE)
    return web.id, db.id


def _attach(cloud: Connection, server: str, volume: str) -> None:
    cloud.compute.create_volume_attachment(server, volume_id=volume)
    cloud.block_storage.wait_for_status(
        cloud.block_storage.get_volume(volume), "in-use", ["error"], interval=0.5, wait=_PATIENCE
    )
