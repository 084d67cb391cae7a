"""How a server is connected: by its ports from the network node, or where those are unknown by network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from restore_openstack.elsewhere import Elsewhere
from restore_openstack.lookups import networks, offer, require, security_groups
from restore_openstack.server_definition import ServerDefinition, ServerMetadata
from restore_openstack.topology import NET, SECURITY_GROUP, NetworkDefinition, Port
from restore_worker.plugin import Report, Selection, Target
from restore_worker.resource import ResourceKey
from restore_worker.template import HeatTemplate, Reference

NETWORK = "OS::Neutron::Network"
# A field, and why it does not come back as it was.
Loss = tuple[str, str]


class Link(BaseModel):
    """Something that is restored under ``original_id``, or is on the target already and known as ``otherwise``."""

    original_id: str | None = None
    otherwise: str

    def value(self, template: HeatTemplate) -> Reference | str:
        """Return what a property says to refer to it."""
        if self.original_id is not None and template.has(self.original_id):
            return template.get_resource_reference(self.original_id)
        return self.otherwise


class Nic(BaseModel):
    """One interface: by the original id of its port, or by its network."""

    port: str | None = None
    network: Link | None = None


class Nics(BaseModel):
    """All interfaces of a server.

    security_groups: only for interfaces without ports; the others have theirs on the port.
    router_interfaces: original ids of what leads out of the ports' subnets.
    """

    nics: list[Nic]
    security_groups: list[Link] = []
    router_interfaces: list[str] = []

    @property
    def ports(self) -> list[str]:
        """Original ids of the ports that must come back."""
        return [nic.port for nic in self.nics if nic.port is not None]

    @property
    def networks(self) -> list[str]:
        """Original ids of the networks that must come back, beside those of the ports."""
        links = [nic.network for nic in self.nics if nic.network is not None]
        return [link.original_id for link in links if link.original_id is not None]

    @property
    def groups(self) -> list[str]:
        """Original ids of the security groups that must come back, beside those of the ports."""
        return [link.original_id for link in self.security_groups if link.original_id is not None]

    def check(self, target: Target, report: Report) -> None:
        """Look for the networks and groups that are not restored with the server."""
        for link in [nic.network for nic in self.nics if nic.network is not None]:
            if link.original_id is None:
                known = networks(target)
                choices = (f"{each.id} ({each.name})" for each in known if not each.is_router_external)
                mend = offer("restore_net_id", choices, "openstack network list --internal")
                require(link.otherwise, known, "network", mend, "networks", report)
            # Nova makes the port.
            target.claim("network", "ports", 1)
        for link in self.security_groups:
            if link.original_id is None:
                mend = "there must be one of that name (openstack security group create, or set --name)"
                require(
                    link.otherwise,
                    security_groups(target, own=True),
                    "security group",
                    mend,
                    "security_groups",
                    report,
                )

    def properties(self, template: HeatTemplate) -> dict[str, Any]:
        """Return the properties of OS::Nova::Server that connect it."""
        networks: list[dict[str, Any]] = []
        for nic in self.nics:
            if nic.port is not None:
                networks.append({"port": template.get_resource_reference(nic.port)})
            elif nic.network is not None:
                networks.append({"network": nic.network.value(template)})
        return {
            # Without any Nova would choose a network.
            "networks": networks or [{"allocate_network": "none"}],
            "security_groups": [group.value(template) for group in self.security_groups] or None,
        }

    def first(self, template: HeatTemplate) -> list[Reference]:
        """Return the router interfaces to wait for: at its first boot a server asks beyond its subnet."""
        return references(self.router_interfaces, template)


def references(original_ids: Iterable[str], template: HeatTemplate) -> list[Reference]:
    """Return references to those that are restored."""
    return [template.get_resource_reference(each) for each in original_ids if template.has(each)]


def network_of(server_id: str, definition: ServerDefinition, selection: Selection) -> ResourceKey | None:
    """Return the network node of the checkpoint that holds the server's ports or networks."""
    for node in selection.find(NETWORK):
        topology = selection.definition(node.key)
        if topology is not None and (
            topology.ports_of(server_id)
            or any(topology.is_own(network_id) for network_id in definition.server_metadata.networks)
        ):
            return node.key
    return None


def nics_of(
    server: ResourceKey, topology: NetworkDefinition | None, selection: Selection
) -> tuple[Nics, list[Loss]]:
    """Return the interfaces of a restored server, and in which fields they are not what they were, and why.

    topology: of the network node that is restored before the server, None if there is none.
    """
    metadata = selection.definition(server).server_metadata
    given = selection.parameters(server).restore_net_id
    apart = is_isolated(server, selection)
    if given is None:
        return _own(server.id, metadata, topology, Elsewhere(topology, selection), apart=apart)
    groups, losses = _groups(metadata, topology, Elsewhere(topology, selection), apart=apart)
    losses.append(("networks", f"it gets one new interface, on network {given}, and none of its own"))
    return Nics(nics=[Nic(network=Link(otherwise=given))], security_groups=groups), losses


def is_isolated(server: ResourceKey, selection: Selection) -> bool:
    """Say whether the server comes back apart from what lives: so it is told, or its network is."""
    return selection.parameters(server).isolated or any(
        selection.parameters(network.key).isolated for network in selection.find(NETWORK)
    )


def _own(
    server_id: str,
    metadata: ServerMetadata,
    topology: NetworkDefinition | None,
    elsewhere: Elsewhere,
    *,
    apart: bool,
) -> tuple[Nics, list[Loss]]:
    def restored(network_id: str) -> bool:
        return topology is not None and topology.is_own(network_id)

    known = topology.ports_of(server_id) if topology else ()
    ports = [port for port in known if not apart or restored(port.network_id)]
    # Nova takes groups for the server only if none of its interfaces is a port.
    groups, losses = ([], []) if ports else _groups(metadata, topology, elsewhere, apart=apart)
    secured = "the default security group" if ports else "the server's security groups"
    nics = []
    if apart:
        foreign = [*metadata.networks, *(port.network_id for port in known)]
        losses += [
            ("networks", f"network {each} is not built with the isolated copy: it has no interface there")
            for each in dict.fromkeys(foreign)
            if not restored(each)
        ]
    # Nova tells the networks in the order of the interfaces.
    for network_id in metadata.networks:
        own = restored(network_id)
        on_it = [Nic(port=port.id) for port in ports if port.network_id == network_id]
        if not on_it and (own or not apart):
            mapped = None if own else elsewhere.find(NET, network_id)
            known_as = mapped.value if mapped else network_id
            there = "" if own else " is not restored, so it must be on the target"
            reason = f"network {known_as}{there}: it gets a new port there, with another address and {secured}"
            losses.append(("networks", reason))
            on_it = [Nic(network=Link(original_id=network_id if own else None, otherwise=known_as))]
        nics += on_it
    nics += [Nic(port=port.id) for port in ports if port.network_id not in metadata.networks]
    ways_out = router_interfaces(ports, topology) if topology else []
    return Nics(nics=nics, security_groups=groups, router_interfaces=ways_out), losses


def _groups(
    metadata: ServerMetadata, topology: NetworkDefinition | None, elsewhere: Elsewhere, *, apart: bool
) -> tuple[list[Link], list[Loss]]:
    """Return the server's security groups, each once: Nova names them once for every port."""
    groups = topology.security_groups if topology else {}
    links, losses = [], []
    for name in dict.fromkeys(group.name for group in metadata.security_groups):
        ids = [group_id for group_id, group in groups.items() if group.name == name]
        if len(ids) == 1:
            links.append(Link(original_id=ids[0], otherwise=name))
        else:
            why = f"{len(ids)} groups in the bank have this name" if ids else "it is not restored"
            if apart:
                losses.append(("security_groups", f"{name!r}: {why}; an isolated copy does without it"))
                continue
            mapped = elsewhere.find(SECURITY_GROUP, name)
            known_as = mapped.value if mapped else name
            losses.append(("security_groups", f"{name!r}: {why}; the target's group {known_as!r} is used"))
            links.append(Link(otherwise=known_as))
    return links, losses


def router_interfaces(ports: Iterable[Port], topology: NetworkDefinition) -> list[str]:
    """Return the original ids of the router interfaces in the ports' subnets, each once."""
    subnets = dict.fromkeys(fixed.subnet_id for port in ports for fixed in port.fixed_ips or ())
    return list(dict.fromkeys(key for subnet in subnets for key in topology.interfaces_of_subnet(subnet)))
