"""A small application as a checkpoint: a server on a network, with an image and a data volume in the bank's bytes.

Small enough that a test which is about something else waits for seconds; `tests.cloud.protect` saves a real one.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import Any

from tests.support import nodes
from tests.support.banks import BankCheckpoint, Node

# Everything is new, so that tests do not get in each other's way.
PARAMETERS = {"OS::Neutron::Network": {"networks": "new"}}


@dataclass(frozen=True)
class Small:
    """The checkpoint, and the original ids of its parts."""

    checkpoint: BankCheckpoint
    image: str
    volume: str
    network: str
    server: str


def small(  # noqa: PLR0913 - what a test may choose
    name: str,
    *,
    project: str,
    flavor: str,
    public: str,
    servers: int = 1,
    image_bytes: int = 300_000,
    volume_bytes: int = 200_000,
    backup: str | None = None,
    **server: Any,
) -> Small:
    """Return the application; names begin with ``name``.

    project: id of the project that it is a checkpoint of.
    flavor: its id on the target.
    public: id of the external network.
    servers: how many; only the first has the volume.
    backup: the Cinder backup that has the volume, instead of the bank.
    server: fields of the servers' metadata that shall be otherwise.
    """
    network, subnet, router, interface, image, volume = (str(uuid.uuid4()) for _ in range(6))
    server_ids = [str(uuid.uuid4()) for _ in range(servers)]
    ports = [
        nodes.port(
            str(uuid.uuid4()),
            network,
            {subnet: f"10.9.0.{10 + number}"},
            device_id=each,
            device_owner="compute:nova",
            mac_address=f"fa:16:3e:00:09:{10 + number:02x}",
        )
        for number, each in enumerate(server_ids)
    ]
    ports.append(
        nodes.port(
            interface, network, {subnet: "10.9.0.1"}, device_id=router, device_owner="network:router_interface"
        )
    )
    image_node = nodes.image(image, f"{name}-image", os.urandom(image_bytes), chunk_size=65536)
    image_node.metadata["image_metadata"]["disk_format"] = "raw"
    volume_node = (
        nodes.volume(volume, f"{name}-data", backup_id=backup)
        if backup
        else nodes.volume_image(volume, f"{name}-data", os.urandom(volume_bytes))
    )
    topology = nodes.network(
        project,
        networks=[nodes.net(network, f"{name}-net", [subnet])],
        subnets=[nodes.subnet(subnet, network, "10.9.0.0/24", "10.9.0.1")],
        ports=ports,
        routers=[nodes.router(router, f"{name}-router", public)],
    )
    server_nodes = [
        nodes.server(
            each,
            f"{name}-{number}",
            boot=image,
            data_volumes=() if number else [volume],
            **{"networks": [network], "flavor": flavor, **server},
        )
        for number, each in enumerate(server_ids)
    ]
    parts: tuple[Node, ...] = (image_node, volume_node, topology, *server_nodes)
    edges = {each.key: (image_node.key,) for each in server_nodes}
    edges[server_nodes[0].key] = (image_node.key, volume_node.key)
    checkpoint = BankCheckpoint(nodes=parts, edges=edges, id=str(uuid.uuid4()), project_id=project, plan_name=name)
    return Small(checkpoint, image, volume, network, server_ids[0])
