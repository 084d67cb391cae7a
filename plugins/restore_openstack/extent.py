"""What of a project's topology is restored: all of it, or what servers reach."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from restore_openstack.device_owner import Fate
from restore_openstack.nics import Nics
from restore_openstack.topology import Interface, NetworkDefinition, Port


@dataclass(frozen=True, slots=True)
class Extent:
    """Original ids of what the project owns, sorted; ``ports`` are those of servers, and unused ones."""

    networks: tuple[str, ...]
    subnets: tuple[str, ...]
    routers: tuple[str, ...]
    groups: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    ports: tuple[Port, ...]


def everything(topology: NetworkDefinition, nics: Iterable[Nics]) -> Extent:
    """Return all that the project owns; of the servers' ports only those of ``nics``."""
    unused = [port for port in topology.ports.values() if port.fate is Fate.FREE]
    return Extent(
        networks=tuple(sorted(filter(topology.is_own, topology.networks))),
        subnets=_subnets_in(topology, topology.networks),
        routers=tuple(sorted(topology.routers)),
        groups=tuple(sorted(topology.security_groups)),
        interfaces=topology.interfaces,
        ports=_by_id([*unused, *_ports_of(topology, nics)]),
    )


def reached(topology: NetworkDefinition, nics: Sequence[Nics]) -> Extent:
    """Return the ports of ``nics`` and what they need: networks, routers, groups with those in their rules."""
    ports = _by_id(_ports_of(topology, nics))
    wanted = {port.network_id for port in ports} | {network for each in nics for network in each.networks}
    networks = tuple(sorted(filter(topology.is_own, wanted)))
    subnets = _subnets_in(topology, networks)
    interfaces = tuple(each for each in topology.interfaces if not set(subnets).isdisjoint(each.subnet_ids))
    groups = {group for port in ports for group in port.security_groups or ()}
    return Extent(
        networks=networks,
        subnets=subnets,
        routers=tuple(sorted({each.router_id for each in interfaces})),
        groups=_groups_from(topology, groups | {group for each in nics for group in each.groups}),
        interfaces=interfaces,
        ports=ports,
    )


def to_build(extent: Extent, topology: NetworkDefinition, there: Collection[str]) -> Extent:
    """Return what is left if these networks and groups are on the target; idle routers are not."""
    subnets = tuple(each for each in extent.subnets if topology.subnets[each].network_id not in there)
    interfaces = tuple(each for each in extent.interfaces if set(each.subnet_ids) <= set(subnets))
    idle = {each.router_id for each in extent.interfaces} - {each.router_id for each in interfaces}
    return Extent(
        networks=tuple(each for each in extent.networks if each not in there),
        subnets=subnets,
        routers=tuple(each for each in extent.routers if each not in idle),
        groups=tuple(each for each in extent.groups if each not in there),
        interfaces=interfaces,
        ports=extent.ports,
    )


def _ports_of(topology: NetworkDefinition, nics: Iterable[Nics]) -> list[Port]:
    return [topology.ports[port_id] for each in nics for port_id in each.ports]


def _by_id(ports: Iterable[Port]) -> tuple[Port, ...]:
    return tuple(sorted(ports, key=lambda port: port.id))


def _subnets_in(topology: NetworkDefinition, networks: Collection[str]) -> tuple[str, ...]:
    return tuple(
        subnet_id
        for subnet_id, subnet in sorted(topology.subnets.items())
        if subnet.network_id in networks and topology.is_own(subnet.network_id)
    )


def _groups_from(topology: NetworkDefinition, groups: Iterable[str]) -> tuple[str, ...]:
    found: set[str] = set()
    todo = list(groups)
    while todo:
        group = todo.pop()
        if group in topology.security_groups and group not in found:
            found.add(group)
            rules = topology.security_groups[group].rules
            todo += [rule.remote_group_id for rule in rules if rule.remote_group_id]
    return tuple(sorted(found))
