"""The network topology of a project: networks, subnets, routers, security groups and ports."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable
from typing import ClassVar

from pydantic import BaseModel

from restore_openstack import port, router
from restore_openstack.addresses import check_wishes, wait_for_kept
from restore_openstack.draft import Draft, Existing, Part, described, refer, references_in
from restore_openstack.elsewhere import Elsewhere
from restore_openstack.extent import Extent, everything, reached, to_build
from restore_openstack.lookups import check_external_network
from restore_openstack.neighbourhood import check_addresses
from restore_openstack.nics import NETWORK, network_of, nics_of
from restore_openstack.security_group import build_groups
from restore_openstack.server_definition import SERVER
from restore_openstack.topology import (
    NET,
    ROUTER,
    SECURITY_GROUP,
    SUBNET,
    Network,
    NetworkDefinition,
    NetworkParameters,
    Subnet,
)
from restore_worker.plugin import Context, Produces, Report, RestorePlugin, Selection, Target
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import HeatTemplate

_IPV6 = 6
_QUOTAS = {
    NET: "networks",
    SUBNET: "subnets",
    ROUTER: "routers",
    "OS::Neutron::Port": "ports",
    SECURITY_GROUP: "security_groups",
    "OS::Neutron::SecurityGroupRule": "security_group_rules",
}


class NetworkWork(BaseModel):
    """What to put, by original id, in the order of the maps."""

    existing: dict[str, Existing]
    parts: dict[str, Part]


class NetworkPlugin(RestorePlugin[NetworkDefinition, NetworkParameters, NetworkWork]):
    """Builds the topology anew, or the servers' ports in the topology that is there."""

    resource_type = NETWORK
    Definition = NetworkDefinition
    Parameters = NetworkParameters
    Work = NetworkWork
    isolates = True
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        ("network_metadata.qos_policy_id", "QoS policies were not saved: set them again"),
        ("network_metadata.dns_domain", "DNS domains of networks were not saved: set them again"),
        ("router_metadata.admin_state_up", "it was not saved: every router comes back switched on"),
        ("router_metadata.distributed", "it was not saved, like `ha`: the target's defaults hold"),
        ("port_metadata.binding:vnic_type", "it was not saved: every port comes back as a normal one"),
        ("port_metadata.qos_policy_id", "QoS policies were not saved: set them again"),
        ("port_metadata.dns_name", "DNS names of ports were not saved: they follow from the servers' names"),
        ("port_metadata.trunk_details", "trunks were not saved: their parent ports come back as plain ones"),
        ("security-group_metadata.stateful", "it was not saved: every security group comes back stateful"),
        ("floating_ips", "those that led to no server (unused ones, those of load balancers) were not saved"),
        (
            "router_metadata.external_gateway_info.external_fixed_ips",
            "only admins may choose it: every router gets another address there",
        ),
        (
            "security-group_metadata.security_group_rules.description",
            "Heat has descriptions of rules inside a group only since version 27",
        ),
        ("subnet_metadata.tags", "only tags of networks were saved: set the others again"),
        ("port_metadata.tags", "only tags of networks were saved: set the others again"),
        ("router_metadata.tags", "only tags of networks were saved: set the others again"),
        ("security-group_metadata.tags", "only tags of networks were saved: set the others again"),
    )

    def prepare(
        self,
        resource: Resource,
        definition: NetworkDefinition,
        parameters: NetworkParameters,
        selection: Selection,
        report: Report,
    ) -> NetworkWork:
        """Return what to put: everything, or what the chosen servers reach."""
        servers = sorted(server.key for server in selection.find(SERVER) if selection.chosen(server.key))
        nics = [
            nics_of(server, definition, selection)[0]
            for server in servers
            if _is_connected(server, resource.key, selection)
        ]
        whole = not selection.implied(resource.key)
        existing = parameters.networks == "existing"
        extent = everything(definition, nics) if whole and not existing else reached(definition, nics)
        elsewhere = Elsewhere(definition, selection)
        there = elsewhere.among(NET, extent.networks) | elsewhere.among(SECURITY_GROUP, extent.groups)
        if parameters.isolated:
            _check_isolated(parameters, report)
        elif not whole and parameters.networks is None and not there.issuperset(extent.networks):
            report.problem(
                "networks",
                "only a part of the checkpoint is restored",
                "choose networks=existing if the servers were lost but their networks are still there, or "
                "networks=new if the networks were lost too",
            )
        draft = Draft(
            *(report, selection, elsewhere, parameters), _substitutes(definition, parameters.public_network_id)
        )
        check_wishes(draft, extent.networks if existing else there.intersection(extent.networks))
        _use(draft, definition, extent if existing else _restricted(extent, there))
        if existing:
            _use_ports(draft, definition, extent)
        else:
            built = to_build(extent, definition, there)
            _build_topology(draft, definition, built)
            router.tell_not_built(report, definition, extent, built)
            if whole:
                _tell_external(report, definition)
                port.tell_left_out(report, definition, {server.id for server in servers})
            else:
                _tell_pruned(report, everything(definition, nics), extent)
        wait_for_kept(draft)
        _tell_segments(report, (definition.networks[network_id] for network_id in extent.networks))
        draft.forget_unused(used for each in nics for used in (*each.networks, *each.groups))
        for each in draft.existing.values() if parameters.isolated else ():
            report.problem(
                "isolated",
                f"an isolated copy uses nothing of the target, so not {each.value} either",
                "leave out what needs it",
            )
        if existing and not draft.existing:
            report.finding(
                "networks",
                "with networks=existing only ports of servers are built, and no server is restored with one",
            )
        return NetworkWork(existing=draft.existing, parts=draft.parts)

    def produces(self, work: NetworkWork) -> Produces:
        """Heat builds the parts, if there are any."""
        return Produces.RESOURCE if work.parts or work.existing else Produces.NOTHING

    def check(self, resource: Resource, work: NetworkWork, target: Target, report: Report) -> None:
        """Look for all that is not built, and whether the ports' addresses are free there."""
        routers = (part for part in work.parts.values() if part.type == ROUTER)
        gateways = {each for part in routers for each in references_in(part.properties)}
        for original_id, existing in work.existing.items():
            if original_id in gateways:
                check_external_network(existing.value, target, "public_network_id", report)
            else:
                existing.check(target, report)
        check_addresses(work.parts, work.existing, target, report)
        for quota, amount in _needed(work.parts.values()).items():
            target.claim("network", quota, amount)

    def restore(
        self,
        resource: Resource,
        work: NetworkWork,
        template: HeatTemplate,
        context: Context,
    ) -> None:
        """Put every part under its original id."""
        for original_id, existing in work.existing.items():
            existing.put(original_id, template)
        for original_id, part in work.parts.items():
            part.put(original_id, template)


def _check_isolated(parameters: NetworkParameters, report: Report) -> None:
    """Tell what would lead out of an isolated copy."""
    if parameters.networks == "existing":
        report.problem("networks", "an isolated copy has networks of its own", "leave networks=existing out")
    if parameters.floating_ips in {"new", "existing"}:
        report.problem(
            "floating_ips", "an isolated copy has none", f"leave floating_ips={parameters.floating_ips} out"
        )
    if parameters.public_network_id is not None:
        report.problem("public_network_id", "an isolated copy has no way out", "leave it out")


def _needed(parts: Iterable[Part]) -> Counter[str]:
    """Return how much of Neutron's quotas the parts need."""
    needed: Counter[str] = Counter()
    for part in parts:
        if part.type == SECURITY_GROUP:
            needed["security_group_rules"] += len(part.properties["rules"])
        # A router's interface that has no port drafted for it gets one.
        if part.type in _QUOTAS or "subnet" in part.properties:
            needed[_QUOTAS.get(part.type, "ports")] += 1
    return needed


def _is_connected(server: ResourceKey, network: ResourceKey, selection: Selection) -> bool:
    definition = selection.definition(server)
    return definition is not None and network_of(server.id, definition, selection) == network


def _substitutes(topology: NetworkDefinition, public_network_id: str | None) -> dict[str, str]:
    """Return what takes the place of external networks, by original id."""
    if public_network_id is None:
        return {}
    gateways = (each.external_gateway_info for each in topology.routers.values())
    external = [gateway.network_id for gateway in gateways if gateway]
    external += [network_id for network_id, network in topology.networks.items() if network.external]
    return dict.fromkeys(external, public_network_id)


def _restricted(extent: Extent, there: Collection[str]) -> Extent:
    """Return the networks and groups of an extent that are on the target already."""
    return dataclasses.replace(
        extent,
        networks=tuple(each for each in extent.networks if each in there),
        groups=tuple(each for each in extent.groups if each in there),
    )


def _use(draft: Draft, topology: NetworkDefinition, extent: Extent) -> None:
    """Use the networks and groups that are on the target, under the original ids or as the site map says."""
    for network_id in extent.networks:
        draft.use(network_id, NET, topology.networks[network_id].name or "", own=True)
    for subnet_id in extent.subnets:
        network_id = topology.subnets[subnet_id].network_id
        # Another network has other subnets: which one it is is seen by the address, unless the site map says it.
        if network_id in extent.networks and (
            not draft.moved(network_id) or draft.elsewhere.find(SUBNET, subnet_id) is not None
        ):
            draft.use(subnet_id, SUBNET, topology.subnets[subnet_id].name or "", own=True)
    for group_id in extent.groups:
        draft.use(group_id, SECURITY_GROUP, topology.security_groups[group_id].name or "", own=True)


def _use_ports(draft: Draft, topology: NetworkDefinition, extent: Extent) -> None:
    """Draft the ports alone; what they and the servers refer to is there."""
    for each in extent.ports:
        port.build_port(draft, topology, each)


def _build_topology(draft: Draft, topology: NetworkDefinition, extent: Extent) -> None:
    build_groups(draft, {group_id: topology.security_groups[group_id] for group_id in extent.groups})
    _tell_mtu(draft.report, (topology.networks[network_id] for network_id in extent.networks))
    for network_id in extent.networks:
        _build_network(draft, network_id, topology.networks[network_id])
    for subnet_id in extent.subnets:
        _build_subnet(draft, subnet_id, topology.subnets[subnet_id])
    for router_id in extent.routers:
        router.build_router(draft, router_id, topology.routers[router_id])
    for interface in extent.interfaces:
        router.build_interface(draft, topology, interface)
    for router_id in extent.routers:
        router.build_routes(draft, topology, router_id, extent.interfaces)
    router.tell_left_out(draft.report, topology, extent)
    for each in extent.ports:
        if topology.is_own(each.network_id) or draft.may_refer(
            each.network_id, NET, f"port_metadata.{each.id}.network_id"
        ):
            port.build_port(draft, topology, each)


def _tell_external(report: Report, topology: NetworkDefinition) -> None:
    for network_id, network in sorted(topology.networks.items()):
        if network.external:
            report.finding(
                f"network_metadata.{network_id}.router:external",
                "only admins may make external networks: it is not built",
            )


def _tell_pruned(report: Report, everything: Extent, reached: Extent) -> None:
    lost = {
        noun: len(getattr(everything, noun)) - len(getattr(reached, noun))
        for noun in ("networks", "subnets", "routers", "groups", "ports")
    }
    told = ", ".join(f"{count} {noun}" for noun, count in lost.items() if count)
    if told:
        report.finding("networks", f"only what the chosen servers reach comes back: {told} are left out")


def _tell_mtu(report: Report, networks: Iterable[Network]) -> None:
    sizes = sorted({network.mtu for network in networks if network.mtu})
    if sizes:
        report.finding(
            "network_metadata.mtu",
            f"it was {', '.join(map(str, sizes))}: networks get the target's own",
        )


def _tell_segments(report: Report, networks: Iterable[Network]) -> None:
    kinds = sorted({network.network_type for network in networks if network.network_type})
    if kinds:
        report.finding(
            "network_metadata.provider:network_type",
            f"it was {', '.join(kinds)}: only admins may choose it, and the target's own holds",
        )


def _build_network(draft: Draft, network_id: str, network: Network) -> None:
    where = f"network_metadata.{network_id}"
    if network.shared:
        draft.report.finding(
            f"{where}.shared", "only admins may share a network: it comes back for the project alone"
        )
    if network.availability_zone_hints:
        zones = ", ".join(network.availability_zone_hints)
        draft.report.finding(
            f"{where}.availability_zone_hints", f"the target's zones may differ: {zones} is dropped"
        )
    name = draft.named(NET, network_id, network.name, where)
    properties = {
        "name": name,
        "admin_state_up": network.admin_state_up,
        "port_security_enabled": network.port_security_enabled,
        "tags": list(network.tags) or None,
        "value_specs": described(network.description),
    }
    draft.build(network_id, Part(type=NET, properties=properties, title=name or ""))


def _build_subnet(draft: Draft, subnet_id: str, subnet: Subnet) -> None:
    if subnet.subnetpool_id:
        draft.report.finding(
            f"subnet_metadata.{subnet_id}.subnetpool_id",
            f"it comes back with its range {subnet.cidr}, but not as one of pool {subnet.subnetpool_id}",
        )
    name = draft.named(SUBNET, subnet_id, subnet.name, f"subnet_metadata.{subnet_id}")
    modes = {"ipv6_address_mode": subnet.ipv6_address_mode, "ipv6_ra_mode": subnet.ipv6_ra_mode}
    properties = {
        "network": refer(subnet.network_id),
        "name": name,
        "cidr": subnet.cidr,
        "ip_version": subnet.ip_version,
        # To Heat, no gateway is an empty text; without the property it would choose one.
        "gateway_ip": subnet.gateway_ip or "",
        "allocation_pools": None
        if subnet.allocation_pools is None
        else [pool.model_dump() for pool in subnet.allocation_pools],
        "dns_nameservers": list(subnet.dns_nameservers),
        "host_routes": [route.model_dump() for route in subnet.host_routes] or None,
        "enable_dhcp": subnet.enable_dhcp,
        "value_specs": described(subnet.description),
        **(modes if subnet.ip_version == _IPV6 else {}),
    }
    draft.build(subnet_id, Part(type=SUBNET, properties=properties, title=name or ""))
