"""Routers, their interfaces and their static routes."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from restore_openstack.device_owner import Fate
from restore_openstack.draft import Draft, Part, described, refer
from restore_openstack.extent import Extent
from restore_openstack.port import build_port
from restore_openstack.topology import NET, ROUTER, Gateway, Interface, NetworkDefinition, Router
from restore_worker.plugin import Report


def build_router(draft: Draft, router_id: str, router: Router) -> None:
    """Draft a router with its external gateway; in an isolated copy, without."""
    where = f"router_metadata.{router_id}"
    name = draft.named(ROUTER, router_id, router.name, where)
    properties: dict[str, Any] = {"name": name, "value_specs": described(router.description)}
    gateway = router.external_gateway_info
    if gateway is not None and draft.isolated:
        draft.report.finding(
            f"{where}.external_gateway_info",
            f"the copy is isolated: its router has no way to network {gateway.network_id}",
        )
    elif gateway is not None:
        properties["external_gateway_info"] = {"network": refer(gateway.network_id)}
        _use_external(draft, gateway, f"{where}.external_gateway_info")
    if router.availability_zone_hints:
        zones = ", ".join(router.availability_zone_hints)
        draft.report.finding(
            f"{where}.availability_zone_hints", f"the target's zones may differ: {zones} is dropped"
        )
    draft.build(router_id, Part(type=ROUTER, properties=properties, title=name or ""))


def _use_external(draft: Draft, gateway: Gateway, where: str) -> None:
    if gateway.network_id not in draft.parts:
        draft.use(gateway.network_id, NET)
    if not draft.moved(gateway.network_id):
        draft.report.finding(
            f"{where}.network_id",
            f"external network {gateway.network_id} must be on the target",
            "if it is not, give another one as public_network_id",
        )
    if gateway.external_fixed_ips:
        addresses = ", ".join(fixed.ip_address for fixed in gateway.external_fixed_ips)
        draft.report.finding(
            f"{where}.external_fixed_ips", f"only admins may choose it: the router gets another than {addresses}"
        )
    if gateway.enable_snat is False:
        draft.report.finding(
            f"{where}.enable_snat", "it was off, but only admins may set it: it comes back as the target's default"
        )


def build_interface(draft: Draft, topology: NetworkDefinition, interface: Interface) -> None:
    """Draft an interface of a router, and the port that it needs if its address is not the usual one."""
    properties = {"router": refer(interface.router_id)}
    if interface.port_id is None:
        properties["subnet"] = refer(interface.subnet_ids[0])
    else:
        build_port(draft, topology, topology.ports[interface.port_id])
        properties["port"] = refer(interface.port_id)
    subnets = (topology.subnets[each].name or each for each in interface.subnet_ids)
    title = f"of {topology.routers[interface.router_id].name or interface.router_id} in {', '.join(subnets)}"
    part = Part(type="OS::Neutron::RouterInterface", properties=properties, title=title, output=False)
    draft.build(interface.key, part)


def build_routes(
    draft: Draft, topology: NetworkDefinition, router_id: str, interfaces: Iterable[Interface]
) -> None:
    """Draft the static routes of a router, after its ``interfaces``."""
    router = topology.routers[router_id]
    own = [interface for interface in interfaces if interface.router_id == router_id]
    connected = _ranges(topology, own)
    known = _ranges(topology, (each for each in topology.interfaces if each.router_id == router_id))
    gateway = router.external_gateway_info
    same_gateway = gateway is not None and not draft.isolated and not draft.moved(gateway.network_id)
    routes = []
    for route in router.routes:
        # The bank does not know the addresses behind a gateway: those are what is in no subnet of the router.
        if _is_in(route.nexthop, connected) or (same_gateway and not _is_in(route.nexthop, known)):
            routes.append(route.model_dump())
        else:
            draft.report.finding(
                f"router_metadata.{router_id}.routes",
                f"the route to {route.destination} by {route.nexthop} is left out: the router that comes back has "
                "no connection to that address",
            )
    if routes:
        part = Part(
            type="OS::Neutron::ExtraRouteSet",
            properties={"router": refer(router_id), "routes": routes},
            title=f"of {router.name or router_id}",
            depends_on=tuple(interface.key for interface in own),
            output=False,
        )
        draft.build(f"routes:{router_id}", part)


def _ranges(topology: NetworkDefinition, interfaces: Iterable[Interface]) -> list[IPv4Network | IPv6Network]:
    subnets = (topology.subnets[subnet_id] for interface in interfaces for subnet_id in interface.subnet_ids)
    return [ip_network(subnet.cidr, strict=False) for subnet in subnets]


def _is_in(address: str, ranges: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(ip_address(address) in each for each in ranges)


def tell_not_built(report: Report, topology: NetworkDefinition, wanted: Extent, built: Extent) -> None:
    """Tell which routers and interfaces are not built since their networks are on the target already."""
    for router_id in wanted.routers:
        if router_id not in built.routers:
            report.finding(
                f"router_metadata.{router_id}",
                "all its networks are on the target already, with routers of their own: it is not built",
            )
    for each in wanted.interfaces:
        if each not in built.interfaces and each.router_id in built.routers:
            networks = sorted({topology.subnets[subnet_id].network_id for subnet_id in each.subnet_ids})
            report.finding(
                f"router_metadata.{each.router_id}",
                f"it has no interface in network {', '.join(networks)}, which is on the target already",
            )


def tell_left_out(report: Report, topology: NetworkDefinition, extent: Extent) -> None:
    """Tell which interfaces of routers, in networks that are restored, do not come back."""
    built = {(each.router_id, subnet_id) for each in extent.interfaces for subnet_id in each.subnet_ids}
    for _, port in sorted(topology.ports.items()):
        known_network, known_router = topology.is_own(port.network_id), port.device_id in topology.routers
        if (
            port.fate is not Fate.INTERFACE
            or (known_network and port.network_id not in extent.networks)
            or (known_router and port.device_id not in extent.routers)
        ):
            continue
        where = f"port_metadata.{port.id}"
        if not known_router:
            report.finding(
                f"{where}.device_id", f"router {port.device_id} is not in the bank: its interface is left out"
            )
        elif not port.fixed_ips or any((port.device_id, each.subnet_id) not in built for each in port.fixed_ips):
            report.finding(
                f"{where}.fixed_ips",
                f"router {port.device_id} comes back without it: its subnet is not in the bank",
            )
