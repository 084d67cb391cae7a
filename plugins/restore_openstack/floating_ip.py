"""Floating IPs of servers: the bank has nothing of them but their addresses, and not even which port had them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from restore_openstack.elsewhere import Elsewhere
from restore_openstack.lookups import check_external_network
from restore_openstack.nics import references, router_interfaces
from restore_openstack.server_definition import ServerMetadata, ServerParameters
from restore_openstack.topology import NET, NetworkDefinition, NetworkParameters, Port
from restore_worker.errors import CloudError
from restore_worker.plugin import Context, Report, Selection, Target
from restore_worker.resource import Resource
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.network.v2.floating_ip import FloatingIP

_TYPE = "OS::Neutron::FloatingIP"
Candidate = tuple[Port, str]


class FloatingIp(BaseModel):
    """A floating IP that leads to a server again.

    address: the original one.
    port_id: original id of the port.
    fixed_ip_address: None if the port has but one.
    public_network_id: where a new address is allocated; None to use the original one.
    router_interfaces: original ids of what leads out of the port's subnets.
    """

    address: str
    port_id: str
    fixed_ip_address: str | None
    public_network_id: str | None
    router_interfaces: list[str]

    def put(self, server_name: str, template: HeatTemplate, context: Context) -> None:
        """Put a new floating IP, or the association of the one that had the address."""
        key = f"floatingip:{self.address}"
        first = references(self.router_interfaces, template)
        ends = {
            "port_id": template.get_resource_reference(self.port_id),
            "fixed_ip_address": self.fixed_ip_address,
        }
        title = f"of {server_name}, in the place of {self.address}" if self.public_network_id else self.address
        if self.public_network_id is not None:
            properties = {"floating_network": self.public_network_id, **ends}
            tells = ("floating_ip_address",)
            template.put_resource(key, HeatResource(_TYPE, properties, first, title, tells=tells))
            return
        description = f"Id of the floating IP {self.address} on the target"
        template.put_parameter(
            key, HeatParameter(self._look_up(context), _TYPE, description=description, title=title)
        )
        properties = {"floatingip_id": template.get_resource_reference(key), **ends}
        title = f"of {self.address} to {server_name}"
        association = HeatResource("OS::Neutron::FloatingIPAssociation", properties, first, title, output=False)
        template.put_resource(f"association:{self.address}", association)

    def check(self, target: Target, report: Report) -> None:
        """Look for the network that the new address comes from, or for the original address."""
        if self.public_network_id is not None:
            check_external_network(self.public_network_id, target, "public_network_id", report)
            target.claim("network", "floating_ips", 1)
            return
        ips = target.look("floating IPs", lambda: _floating_ips(target.connection()))
        if obstacle := _obstacle(self.address, _having(self.address, ips)):
            report.problem("floating_ips", *obstacle)

    def _look_up(self, context: Context) -> str | None:
        if context.rendering:
            return None
        found = _having(self.address, _floating_ips(context.connection()))
        # Since it was checked somebody may have used it.
        if obstacle := _obstacle(self.address, found):
            raise CloudError(": ".join(obstacle))
        return found.id if found else None


def _floating_ips(connection: Connection) -> list[FloatingIP]:
    # Admins see those of others too.
    return list(connection.network.ips(project_id=connection.current_project_id))


def _having(address: str, ips: Iterable[FloatingIP]) -> FloatingIP | None:
    return next((each for each in ips if each.floating_ip_address == address), None)


def _obstacle(address: str, found: FloatingIP | None) -> tuple[str, str] | None:
    """Return why it cannot be used, and what mends that; none is taken from a port that has it."""
    if found is None:
        return f"the target has no floating IP {address} in this project", "set floating_ips=new or skip"
    if found.port_id:
        mend = f"if nobody needs it there, free it (openstack floating ip unset --port {address}), or set "
        return (
            f"floating IP {address} of the target leads to {found.fixed_ip_address} on port {found.port_id}",
            f"{mend}floating_ips=new or skip",
        )
    return None


def floating_ips_of(
    server_id: str,
    metadata: ServerMetadata,
    parameters: ServerParameters,
    topology: NetworkDefinition | None,
    network: NetworkParameters,
    report: Report,
    *,
    apart: bool = False,
) -> list[FloatingIp]:
    """Return the floating IPs that come back; tells the report of each that does not, or not as it was.

    topology, network: of the network node that is restored before the server, and what the user wants of it.
    apart: whether the server is part of an isolated copy.
    """
    addresses = list(dict.fromkeys(metadata.floating_ips))
    candidates: Sequence[Candidate] = ()
    if topology is not None and parameters.restore_net_id is None:
        candidates = topology.floating_candidates(server_id)
    reason = "an isolated copy has none" if apart else _reason_to_skip(network, candidates)
    if topology is None or reason or not addresses:
        for address in addresses:
            report.finding("floating_ips", f"{address} is left out: {reason}")
        return []
    public = network.public_network_id if network.floating_ips != "existing" else None
    if public is None and network.floating_ips == "new":
        report.problem(
            "floating_ips",
            "floating_ips=new needs to know where from",
            "give a public_network_id of OS::Neutron::Network too",
        )
        return []
    keeps = network.fixed_ips in {None, "keep"}
    chosen = _choose(addresses, candidates, parameters.floating_ip_ports, alike=public is not None)
    if chosen is None:
        report.problem("floating_ips", *_question(addresses, candidates))
        return []
    if public is not None:
        for address in addresses:
            report.finding("floating_ips", f"{address}: a new address of network {public} takes its place")
    return [
        FloatingIp(
            address=address,
            port_id=port.id,
            fixed_ip_address=fixed if keeps and sum(other is port for other, _ in candidates) > 1 else None,
            public_network_id=public,
            router_interfaces=router_interfaces([port], topology),
        )
        for address, (port, fixed) in zip(addresses, chosen, strict=True)
    ]


def by_site_map(
    wanted: NetworkParameters, server_id: str, topology: NetworkDefinition | None, selection: Selection
) -> NetworkParameters:
    """Return what the user wants of floating IPs, and where no parameter speaks, what the site map says."""
    fate = wanted.floating_ips or selection.policy("floating_ips")
    public = wanted.public_network_id
    if public is None and topology is not None and fate in {None, "new"}:
        elsewhere = Elsewhere(topology, selection)
        gateways = {
            gateway
            for port, _ in topology.floating_candidates(server_id)
            for fixed in port.fixed_ips or ()
            for gateway in topology.gateways_of(fixed.subnet_id)
        }
        mapped = [elsewhere.find(NET, gateway) for gateway in sorted(gateways)]
        # Who gives the parameter names the network, too; the policy means the old one unless that is mapped.
        known = {each.value for each in mapped if each} or (set() if wanted.floating_ips or not fate else gateways)
        public = next(iter(known)) if len(known) == 1 else None
    fixed = wanted.fixed_ips or selection.policy("fixed_ips")
    return wanted.model_copy(update={"floating_ips": fate, "public_network_id": public, "fixed_ips": fixed})


def tell_policy(
    server: Resource, addresses: Iterable[str], coming: Iterable[FloatingIp], selection: Selection
) -> None:
    """Tell what came of the site map's policy."""
    publics = {each.address: each.public_network_id for each in coming}
    for address in addresses:
        after = publics[address] and f"a new one of {publics[address]}" if address in publics else None
        if address not in publics or after:
            selection.by_policy("floating_ips", server, "floating_ips", address, after)


def _reason_to_skip(network: NetworkParameters, candidates: Sequence[Candidate]) -> str:
    if network.floating_ips == "skip":
        return "floating_ips=skip"
    if network.floating_ips is None and network.public_network_id is None:
        return (
            "give OS::Neutron::Network a public_network_id for a new address, or floating_ips=existing to use the "
            "old one"
        )
    return "" if candidates else "none of its ports that come back has a way to an external network"


def _choose(
    addresses: Sequence[str], candidates: Sequence[Candidate], named: str | None, *, alike: bool
) -> Sequence[Candidate] | None:
    """Return where each address leads, None if that would be a guess.

    named: what the user says of it.
    alike: the addresses are new ones, so that it does not matter which of them a port gets.
    """
    if named is None:
        return candidates if len(addresses) == len(candidates) and (alike or len(addresses) == 1) else None
    found = []
    for name in named.split(","):
        match = [each for each in candidates if name.strip() in (each[0].id, each[1]) and each not in found]
        if len(match) != 1:
            return None
        found += match
    return found if len(found) == len(addresses) else None


def _question(addresses: Sequence[str], candidates: Sequence[Candidate]) -> tuple[str, str]:
    ports = " or ".join(f"port {port.id} ({fixed})" for port, fixed in candidates)
    mend = (
        "name one for each address, in their order, in floating_ip_ports of the server, or set floating_ips=skip"
    )
    return f"{' and '.join(addresses)} may have led to {ports}", f"{mend} for OS::Neutron::Network"
