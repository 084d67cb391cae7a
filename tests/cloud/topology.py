"""A project's networks as Neutron tells of them, and all that belongs to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection
from openstack.resource import Resource

# One of Neutron's objects under the names of its API.
Fields = dict[str, Any]
INTERFACE = "network:router_interface"


@dataclass(frozen=True, slots=True)
class Topology:
    """Networks, subnets, ports, routers and security groups with their rules."""

    networks: list[Fields]
    subnets: list[Fields]
    ports: list[Fields]
    routers: list[Fields]
    groups: list[Fields]


def read_topology(cloud: Connection, networks: Collection[str] | None = None) -> Topology:
    """Return the topology of the connection's project.

    networks: ids; only these, with their subnets, ports, the routers that lead into them, and the security groups
        of the ports with those that their rules refer to. None for all that the project owns.
    Raises openstacksdk's errors.
    """
    if networks is None:
        return _of_project(cloud, str(cloud.current_project_id))
    subnets = [each for network in networks for each in _fields(cloud.network.subnets(network_id=network))]
    ports = [each for network in networks for each in _fields(cloud.network.ports(network_id=network))]
    routers = dict.fromkeys(port["device_id"] for port in ports if port["device_owner"] == INTERFACE)
    return Topology(
        networks=_fields(cloud.network.get_network(network) for network in networks),
        subnets=subnets,
        ports=ports,
        routers=_fields(cloud.network.get_router(router) for router in routers),
        groups=_groups(cloud, {group for port in ports for group in port["security_groups"]}),
    )


def _of_project(cloud: Connection, project_id: str) -> Topology:
    neutron = cloud.network
    return Topology(
        networks=_fields(neutron.networks(project_id=project_id)),
        subnets=_fields(neutron.subnets(project_id=project_id)),
        ports=_fields(neutron.ports(project_id=project_id)),
        routers=_fields(neutron.routers(project_id=project_id)),
        groups=_fields(neutron.security_groups(project_id=project_id)),
    )


def _groups(cloud: Connection, wanted: set[str]) -> list[Fields]:
    found: dict[str, Fields] = {}
    while missing := sorted(wanted - found.keys()):
        found |= {each["id"]: each for each in _fields(map(cloud.network.get_security_group, missing))}
        rules = (rule for group in found.values() for rule in group["security_group_rules"])
        wanted |= {rule["remote_group_id"] for rule in rules if rule["remote_group_id"]}
    return list(found.values())


def _fields(resources: Iterable[Resource]) -> list[Fields]:
    return [each.to_dict(computed=False, original_names=True) for each in resources]
