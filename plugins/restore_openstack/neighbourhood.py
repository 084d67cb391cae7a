"""Networks of the target as ports come into them: which addresses they have, and which are taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from restore_openstack.draft import Existing, Part, references_in
from restore_openstack.lookups import named, networks
from restore_openstack.topology import PORT
from restore_worker.plugin import Report, Target

if TYPE_CHECKING:
    from openstack.network.v2.port import Port as TargetPort
    from openstack.network.v2.subnet import Subnet as TargetSubnet


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A network of the target as a port of the project finds it.

    taken: addresses and MACs of the ports that the project sees.
    own: whether it is the project's.
    """

    subnets: Sequence[TargetSubnet]
    taken: Mapping[str, TargetPort]
    own: bool


def neighbourhood(network: Existing | None, target: Target | None) -> Neighbourhood | None:
    """Return what there is around a network of the target; None if it is not there, or nobody asks."""
    if network is None or target is None:
        return None
    found = named(network.value, networks(target))
    if len(found) != 1:
        return None
    network_id = found[0].id
    connection = target.connection()
    subnets = target.look("subnets of networks", lambda: list(connection.network.subnets()))
    return Neighbourhood(
        subnets=[each for each in subnets if each.network_id == network_id],
        taken=_taken(network_id, target),
        own=found[0].project_id in (None, connection.current_project_id),
    )


def _taken(network_id: str, target: Target) -> dict[str, TargetPort]:
    """Return the ports of the target's network that the project sees, by MAC and IP address."""

    def ask() -> dict[str, TargetPort]:
        found: dict[str, TargetPort] = {}
        for port in target.connection().network.ports(network_id=network_id):
            addresses = [fixed["ip_address"] for fixed in port.fixed_ips]
            found |= dict.fromkeys(map(canonical, [*addresses, port.mac_address]), port)
        return found

    return target.look(f"addresses in network {network_id}", ask)


def canonical(address: str) -> str:
    """Return an IP address or a MAC as it is compared."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address.lower().replace("-", ":")


def holds(subnet: TargetSubnet, address: str) -> bool:
    """Say whether an address is in a subnet's range."""
    return ip_address(address) in ip_network(subnet.cidr, strict=False)


def ranges(subnets: Sequence[TargetSubnet]) -> str:
    """Return the ranges of subnets, for people."""
    return ", ".join(sorted(each.cidr for each in subnets)) or "it has none"


def check_addresses(
    parts: Mapping[str, Part], existing: Mapping[str, Existing], target: Target, report: Report
) -> None:
    """Tell which addresses of the ports to build the networks do not take that are on the target."""
    for port_id, part in parts.items():
        if part.type != PORT:
            continue
        network = existing.get(next(references_in(part.properties["network"])))
        fixed_ips = part.properties.get("fixed_ips") or ()
        mac = part.properties.get("mac_address")
        if network is None or not (fixed_ips or mac):
            continue
        around = neighbourhood(network, target)
        if around is None:
            continue  # it is not there, which is told
        wanted = [fixed["ip_address"] for fixed in fixed_ips if "ip_address" in fixed]
        field = f"port_metadata.{port_id}"
        _check_free((*wanted, mac), network, around, field, report)
        if network.rule:
            for fixed in fixed_ips:
                _check_fits(fixed, network, around, existing, field, report)
        if not around.own and (wanted or mac):
            report.finding(
                field, f"network {network.value} is another project's: only an admin may choose addresses there"
            )


def _check_free(
    addresses: Iterable[str | None], network: Existing, around: Neighbourhood, field: str, report: Report
) -> None:
    other = "set fixed_ips or macs to auto or new" if network.rule else "set networks=new"
    for address in filter(None, addresses):
        if holder := around.taken.get(canonical(address)):
            server = f" of {holder.device_id}" if holder.device_id else ""
            report.problem(
                field,
                f"{address} is in use by port {holder.id}{server} on the target",
                f"if that is lost, delete it (openstack port delete {holder.id}), else {other}",
            )


def _check_fits(
    fixed: Mapping[str, Any],
    network: Existing,
    around: Neighbourhood,
    existing: Mapping[str, Existing],
    field: str,
    report: Report,
) -> None:
    """Tell unless a subnet of the network, or the one that the site map names, holds an address."""
    subnets = around.subnets
    for original_id in references_in(fixed.get("subnet", {})):
        wanted = existing[original_id]
        subnets = named(wanted.value, subnets)
        if not subnets:
            report.problem(
                field,
                f"subnet {wanted.value} is none of network {network.value} on the target",
                f"correct {wanted.rule}",
            )
            return
    address = fixed.get("ip_address")
    if address and not any(holds(each, address) for each in subnets):
        report.problem(
            field,
            f"{address} is in no subnet of network {network.value} on the target ({ranges(subnets)})",
            "set fixed_ips to auto or new",
        )
