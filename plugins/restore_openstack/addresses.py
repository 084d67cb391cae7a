"""Fixed addresses and MACs of ports: kept, chosen anew, or kept as far as the network there takes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import Any, Literal

from restore_openstack.device_owner import Fate
from restore_openstack.draft import Draft, Part, refer, references_in
from restore_openstack.neighbourhood import canonical, holds, neighbourhood, ranges
from restore_openstack.topology import PORT, FixedIp, NetworkDefinition, Port
from restore_worker.resource import Resource, ResourceKey

Kind = Literal["fixed_ips", "macs"]


def is_own_there(draft: Draft, network_id: str) -> bool:
    """Say whether the network that a port comes into is the project's, as far as is known."""
    around = neighbourhood(draft.existing.get(network_id), draft.selection.target)
    return around is None or around.own


def check_wishes(draft: Draft, networks_there: Collection[str]) -> None:
    """Refuse what nobody can decide who does not see the target; networks_there: those that ports come into."""
    for kind in ("fixed_ips", "macs"):
        if networks_there and draft.wish(kind)[0] == "auto" and draft.selection.target is None:
            draft.report.problem(kind, f"{kind}=auto looks at what is free on the target", "name it with --cloud")


def addresses_of(draft: Draft, topology: NetworkDefinition, port: Port) -> dict[str, Any]:
    """Return the properties of a port with its addresses; what it does not keep is told."""
    chooser = _Chooser(draft, topology, port)
    return {"mac_address": chooser.mac(), "fixed_ips": list(chooser.fixed_ips()) or None}


class _Chooser:
    """Chooses for one port in a network of the project."""

    def __init__(self, draft: Draft, topology: NetworkDefinition, port: Port) -> None:
        self._draft = draft
        self._topology = topology
        self._port = port
        there = draft.existing.get(port.network_id)
        self._around = neighbourhood(there, draft.selection.target)
        # Its subnets are others than the bank has.
        self._moved = draft.moved(port.network_id)

    def mac(self) -> str | None:
        mac = self._port.mac_address
        wish, _ = self._wish("macs")
        if mac is None or wish == "keep" or (wish == "auto" and not (why := self._obstacle(mac))):
            return mac and self._keep(mac)
        self._tell("macs", "mac_address", mac, why if wish == "auto" else "", "another one")
        return None

    def fixed_ips(self) -> Iterator[dict[str, Any]]:
        chosen: list[dict[str, Any]] = []
        for fixed in self._port.fixed_ips or ():
            subnet = self._topology.subnets.get(fixed.subnet_id)
            if subnet is None or subnet.network_id != self._port.network_id:
                self._draft.report.finding(
                    f"port_metadata.{self._port.id}.fixed_ips",
                    f"its network has no subnet {fixed.subnet_id} in the bank: {fixed.ip_address} is left out",
                )
                continue
            one = self._fixed_ip(fixed, derived=subnet.derives_addresses)
            # Of a subnet that derives addresses a port has one, and of two that are chosen anew each counts.
            if one and (one not in chosen or not subnet.derives_addresses):
                chosen.append(one)
        yield from chosen

    def _fixed_ip(self, fixed: FixedIp, *, derived: bool) -> dict[str, Any] | None:
        wish, _ = self._wish("fixed_ips")
        address = fixed.ip_address
        subnet = {"subnet": refer(fixed.subnet_id)} if self._has_subnet(fixed.subnet_id) else {}
        if derived and not self._moved:
            return subnet
        why = ""
        if derived:
            why = "follows from its subnet there"
        elif wish == "keep" or (wish == "auto" and not (why := self._obstacle(address))):
            return {**subnet, "ip_address": self._keep(address)}
        subnet = subnet or self._subnet_for(address)
        self._tell("fixed_ips", "fixed_ips", address, why, "another one")
        return subnet or None

    def _keep(self, address: str) -> str:
        """Return an address or MAC that the port keeps, once it is no other port's in the same network."""
        if not self._draft.claim(self._port.network_id, canonical(address)):
            self._draft.report.problem(
                f"port_metadata.{self._port.id}",
                f"{address} is that of another port of the restore, too, in the network that both come into",
                "set fixed_ips or macs to auto or new",
            )
        return address

    def _has_subnet(self, subnet_id: str) -> bool:
        return subnet_id in self._draft.parts or subnet_id in self._draft.existing

    def _subnet_for(self, address: str) -> dict[str, Any]:
        """Return the subnet there that an address would be in, or else the first of its IP version."""
        subnets = self._around.subnets if self._around else ()
        version = ip_address(address).version
        alike = sorted(
            (each for each in subnets if each.ip_version == version),
            key=lambda each: (not holds(each, address), not each.is_dhcp_enabled, each.cidr, each.id),
        )
        return {"subnet": alike[0].id} if alike else {}

    def _obstacle(self, address: str) -> str:
        """Return why the network there does not take an address or MAC, "" if it does."""
        return next(self._obstacles(address), "")

    def _obstacles(self, address: str) -> Iterator[str]:
        around = self._around
        if self._draft.claimed(self._port.network_id, canonical(address)):
            yield "is that of another port of the restore, too"
        if around is None:
            return
        if not around.own:
            yield "cannot be chosen, as the network is another project's"
        if holder := around.taken.get(canonical(address)):
            yield f"is in use by port {holder.id}"
        if self._moved and address != self._port.mac_address:
            if address in {each.gateway_ip for each in around.subnets}:
                yield "is the gateway's there"
            if not any(holds(each, address) for each in around.subnets):
                yield f"is in none of its subnets there ({ranges(around.subnets)})"

    def _wish(self, kind: Kind) -> tuple[str, bool]:
        # What is beyond a router's interface knows it by its address.
        return ("keep", False) if self._port.fate is Fate.INTERFACE else self._draft.wish(kind)

    def _tell(self, kind: Kind, field: str, before: str, why: str, after: str) -> None:
        _, by_map = self._wish(kind)
        if by_map:
            part = Resource(ResourceKey(PORT, self._port.id), self._port.name or "")
            self._draft.selection.by_policy(kind, part, field, before, after)
        if why or not by_map:
            reason = f" {why}" if why else " does not come back"
            self._draft.report.finding(
                f"port_metadata.{self._port.id}.{field}", f"{before}{reason}: the port gets {after}"
            )


def wait_for_kept(draft: Draft) -> None:
    """Have ports with new addresses wait for those that keep theirs, which Neutron might give out otherwise."""
    kept: dict[str, list[str]] = {}
    new: dict[str, list[str]] = {}
    for port_id, part in draft.parts.items():
        if part.type == PORT and not part.properties.get("no_fixed_ips"):
            network_id = next(references_in(part.properties["network"]))
            network = draft.existing[network_id].value if network_id in draft.existing else network_id
            keeps = any("ip_address" in fixed for fixed in part.properties.get("fixed_ips") or ())
            (kept if keeps else new).setdefault(network, []).append(port_id)
    for network in sorted(kept.keys() & new.keys()) if draft.wish("fixed_ips")[0] != "keep" else ():
        # One resource between them, since each of many would name each of many.
        between = f"addresses:{kept[network][0]}"
        draft.build(
            between, Part(type="OS::Heat::None", properties={}, depends_on=tuple(kept[network]), output=False)
        )
        for port_id in new[network]:
            draft.build(port_id, draft.parts.pop(port_id).model_copy(update={"depends_on": (between,)}))
