"""Ports: of servers, unused ones, and those that router interfaces need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from restore_openstack.addresses import addresses_of, is_own_there
from restore_openstack.device_owner import Fate, ruling
from restore_openstack.draft import Draft, Part, described
from restore_openstack.topology import NET, PORT, SECURITY_GROUP, NetworkDefinition, Port
from restore_worker.plugin import Report


def build_port(draft: Draft, topology: NetworkDefinition, port: Port) -> None:
    """Draft a port; its networks and subnets are drafted already, if the bank has them."""
    where = f"port_metadata.{port.id}"
    name = draft.named(PORT, port.id, port.name, where)
    properties: dict[str, Any] = {
        "network": draft.refer(port.network_id, NET, f"{where}.network_id"),
        "name": name,
        "admin_state_up": port.admin_state_up,
        "value_specs": described(port.description),
        "security_groups": _groups(draft, port),
    }
    if port.fixed_ips == ():
        properties["no_fixed_ips"] = True
    if topology.is_own(port.network_id):
        properties |= addresses_of(draft, topology, port)
        if is_own_there(draft, port.network_id):
            properties |= _owners_choice(draft.report, port)
        else:
            _tell_owners_choice(draft.report, port)
    else:
        _tell_lost_addresses(draft.report, port)
        _tell_owners_choice(draft.report, port)
    if port.extra_dhcp_opts:
        names = ", ".join(option.opt_name for option in port.extra_dhcp_opts)
        draft.report.finding(f"{where}.extra_dhcp_opts", f"Heat cannot set DHCP options of a port: {names}")
    draft.build(port.id, Part(type=PORT, properties=properties, title=name or ""))


def _groups(draft: Draft, port: Port) -> list[dict[str, str]] | None:
    where = f"port_metadata.{port.id}.security_groups"
    if port.security_groups is None:
        return None
    if port.port_security_enabled is False and port.security_groups:
        draft.report.finding(where, "a port without port security has no security groups: it comes back without")
        return []
    return [
        draft.refer(group_id, SECURITY_GROUP, where)
        for group_id in port.security_groups
        if draft.may_refer(group_id, SECURITY_GROUP, where)
    ]


def _owners_choice(report: Report, port: Port) -> dict[str, Any]:
    """Return what only the owner of a network may choose for a port in it, besides addresses."""
    properties: dict[str, Any] = {"port_security_enabled": port.port_security_enabled}
    if port.allowed_address_pairs:
        if port.port_security_enabled is False:
            report.finding(
                f"port_metadata.{port.id}.allowed_address_pairs",
                "a port without port security may use any address: its address pairs are left out",
            )
        else:
            properties["allowed_address_pairs"] = [pair.model_dump() for pair in port.allowed_address_pairs]
    return properties


def _tell_lost_addresses(report: Report, port: Port) -> None:
    addresses = [fixed.ip_address for fixed in port.fixed_ips or ()] + [port.mac_address or ""]
    if any(addresses):
        owner, lost = f"only the owner of network {port.network_id} may", ", ".join(filter(None, addresses))
        report.finding(
            f"port_metadata.{port.id}.fixed_ips",
            f"{owner} choose addresses there: the port gets others than {lost}",
        )


def _tell_owners_choice(report: Report, port: Port) -> None:
    where, owner = f"port_metadata.{port.id}", f"only the owner of network {port.network_id} may"
    if port.port_security_enabled is False:
        report.finding(
            f"{where}.port_security_enabled", f"{owner} switch it off: the port comes back as the network has it"
        )
    if port.allowed_address_pairs:
        lost = ", ".join(pair.ip_address for pair in port.allowed_address_pairs)
        report.finding(f"{where}.allowed_address_pairs", f"{owner} allow them: {lost} are left out")


def tell_left_out(report: Report, topology: NetworkDefinition, servers: Collection[str]) -> None:
    """Tell which ports of the project do not come back; ``servers`` are those that are restored."""
    made_anew: Counter[str] = Counter()
    for _, port in sorted(topology.ports.items()):
        owner = port.device_owner or ""
        where = f"port_metadata.{port.id}.device_owner"
        fate, what = ruling(owner)
        if fate is Fate.MADE_BY_NEUTRON:
            made_anew[f"{owner} ({what})"] += 1
        elif fate is Fate.LEFT_OUT:
            report.finding(where, f"{owner!r} is {what}, which the bank does not hold: the port is left out")
        elif fate is Fate.OF_SERVER and port.device_id not in servers:
            report.finding(where, f"its server {port.device_id} is not restored: the port is left out")
    for owner, count in sorted(made_anew.items()):
        report.finding(
            "port_metadata", f"{count} of {owner}: not copied, as Neutron makes them where they are needed"
        )
