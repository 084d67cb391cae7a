"""Whole tenants for tests, in the shape that Karbor gives a protected project, of any size."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from typing import Any

from restore_worker.resource import ResourceKey
from tests.support import nodes
from tests.support.banks import BankCheckpoint, Node

EXTERNAL_NETWORK = "b9c8c293-d0a0-465c-8c21-bd317dc4e3e5"


def tenant(
    *,
    servers: int = 3,
    volumes_per_server: int = 2,
    networks: int = 1,
    images: int = 1,
    seed: int = 0,
    rooted: bool = True,
) -> BankCheckpoint:
    """Return the checkpoint of a tenant; the same arguments give the same one.

    It has a project node, one network node (networks with a subnet and a DHCP port each, one router between them
    with a gateway, three security groups of which two refer to each other, a port per server and network), images,
    and servers: about half boot from an image, the others from their first volume. Volumes are saved by backup.
    servers * (1 + volumes_per_server) + images + 2 resources.

    networks: 1 to 200; a server is in one or two of them.
    rooted: True: the plan named the project. False: it named the servers and the network; there is no project node.
    """
    return _Tenant(random.Random(seed), rooted).build(servers, volumes_per_server, networks, images)


@dataclass
class _Tenant:
    random: random.Random
    rooted: bool
    made: list[Node] = field(default_factory=list)
    edges: dict[ResourceKey, tuple[ResourceKey, ...]] = field(default_factory=dict)
    ports: list[nodes.Fields] = field(default_factory=list)

    def build(self, servers: int, volumes_per_server: int, networks: int, images: int) -> BankCheckpoint:
        project_id = self.new_id().replace("-", "")
        topology = self.topology(networks)
        self.made += [
            nodes.image(self.new_id(), f"ubuntu-{number}", self.random.randbytes(1000), chunk_size=400)
            for number in range(images)
        ]
        pictures = tuple(self.made)
        for number in range(servers):
            self.server(number, volumes_per_server, pictures, topology)
        self.made.insert(len(pictures), nodes.network(project_id, ports=self.ports, **topology))
        if self.rooted:
            everything = tuple(node.key for node in self.made)
            self.made.append(nodes.project(project_id))
            self.edges[self.made[-1].key] = everything
        return BankCheckpoint(
            id=self.new_id(), project_id=project_id, nodes=tuple(self.made), edges=dict(self.edges)
        )

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def topology(self, networks: int) -> dict[str, list[nodes.Fields]]:
        """Make networks, subnets, router and groups, and put the ports that belong to no server."""
        nets, subnets = [], []
        router = nodes.router(self.new_id(), "edge", EXTERNAL_NETWORK)
        for number in range(networks):
            net_id, subnet_id = self.new_id(), self.new_id()
            nets.append(nodes.net(net_id, f"net-{number}", [subnet_id]))
            prefix = f"10.{number}"
            pools = [{"start": f"{prefix}.0.2", "end": f"{prefix}.255.254"}]
            subnets.append(
                nodes.subnet(
                    subnet_id, net_id, f"{prefix}.0.0/16", f"{prefix}.0.1", name="s", allocation_pools=pools
                )
            )
            unsecured: dict[str, Any] = {"port_security_enabled": False}
            self.port(net_id, {subnet_id: f"{prefix}.0.2"}, f"dhcp-{net_id}", "network:dhcp", **unsecured)
            self.port(net_id, {subnet_id: f"{prefix}.0.1"}, router["id"], "network:router_interface", **unsecured)
        return {"networks": nets, "subnets": subnets, "routers": [router], "groups": self.groups()}

    def groups(self) -> list[nodes.Fields]:
        default, web, db = (self.new_id() for _ in range(3))
        tcp = {"protocol": "tcp"}
        return [
            nodes.group(default, "default", [nodes.rule(remote_group_id=default)]),
            nodes.group(
                web,
                "web",
                [
                    nodes.rule(**tcp, port_range_min=443, port_range_max=443, remote_ip_prefix="0.0.0.0/0"),
                    nodes.rule(**tcp, port_range_min=9100, port_range_max=9100, remote_group_id=db),
                ],
            ),
            nodes.group(
                db, "db", [nodes.rule(**tcp, port_range_min=5432, port_range_max=5432, remote_group_id=web)]
            ),
        ]

    def port(
        self, net_id: str, addresses: dict[str, str], device_id: str, device_owner: str, **fields: Any
    ) -> None:
        serial = len(self.ports)
        mac = f"fa:16:3e:{serial >> 16:02x}:{serial >> 8 & 255:02x}:{serial & 255:02x}"
        fields |= {"device_id": device_id, "device_owner": device_owner, "mac_address": mac}
        self.ports.append(nodes.port(self.new_id(), net_id, addresses, **fields))

    def server(
        self, number: int, volumes: int, images: tuple[Node, ...], topology: dict[str, list[nodes.Fields]]
    ) -> None:
        server_id = self.new_id()
        disks = [nodes.volume(self.new_id(), f"disk-{number}-{disk}") for disk in range(volumes)]
        from_volume = bool(disks) and (not images or self.random.random() < 0.5)
        boot = disks[0] if from_volume else self.random.choice(images)
        group = self.random.choice(topology["groups"])
        joined = self.random.sample(topology["subnets"], min(len(topology["subnets"]), 1 + number % 2))
        for subnet in joined:
            address = f"{subnet['cidr'].removesuffix('.0.0/16')}.{1 + number // 200}.{10 + number % 200}"
            self.port(
                subnet["network_id"],
                {subnet["id"]: address},
                server_id,
                "compute:nova",
                security_groups=[group["id"]],
            )
        floating = [f"198.18.{number // 250}.{number % 250 + 1}"] if number % 5 == 0 else []
        node = nodes.server(
            server_id,
            f"server-{number}",
            boot=boot.id,
            from_volume=from_volume,
            data_volumes=[disk.id for disk in disks if disk is not boot],
            root=not self.rooted,
            networks=[subnet["network_id"] for subnet in joined],
            floating_ips=floating,
            security_groups=[{"name": group["name"]} for _ in joined],
        )
        self.made += [*disks, node]
        self.edges[node.key] = tuple(dict.fromkeys((boot.key, *(disk.key for disk in disks))))
