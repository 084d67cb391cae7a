"""The network topology of a project as a bank holds it, all of it in one resource.

Only what a restore uses is modelled. Parts are known by their original ids; names may be empty or alike.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from restore_openstack.device_owner import Fate, ruling
from restore_openstack.fields import Address, AddressOrCidr, ById, Cidr, Id, Items, ItemsOrNone, Mac
from restore_worker.plugin import Definition, Parameters

# Types of its parts, as Heat calls them.
NET = "OS::Neutron::Net"
SUBNET = "OS::Neutron::Subnet"
PORT = "OS::Neutron::Port"
ROUTER = "OS::Neutron::Router"
SECURITY_GROUP = "OS::Neutron::SecurityGroup"

PortNumber = Annotated[int, Field(ge=0, le=65535)]
Ipv6Mode = Literal["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]


class Network(Definition):
    """A network of the project."""

    name: str | None = None
    description: str | None = None
    admin_state_up: bool | None = None
    port_security_enabled: bool | None = None
    availability_zone_hints: Items[str] = ()
    mtu: int | None = None
    shared: bool | None = None
    external: bool | None = Field(default=None, alias="router:external")
    network_type: str | None = Field(default=None, alias="provider:network_type")
    tags: Items[str] = ()


class Range(Definition):
    """Addresses that Neutron may give out, first and last."""

    start: Address
    end: Address


class Route(Definition):
    """A static route."""

    destination: Cidr
    nexthop: Address


class Subnet(Definition):
    """A subnet; no ``gateway_ip`` means that it has none."""

    network_id: Id
    name: str | None = None
    description: str | None = None
    cidr: Cidr
    ip_version: Literal[4, 6]
    gateway_ip: Address | None = None
    allocation_pools: ItemsOrNone[Range] = None
    dns_nameservers: Items[Address] = ()
    host_routes: Items[Route] = ()
    enable_dhcp: bool | None = None
    ipv6_address_mode: Ipv6Mode | None = None
    ipv6_ra_mode: Ipv6Mode | None = None
    subnetpool_id: str | None = None

    @property
    def derives_addresses(self) -> bool:
        """True if a port's address follows from its MAC (SLAAC), so that nobody may ask for one."""
        return bool({self.ipv6_address_mode, self.ipv6_ra_mode} & {"slaac", "dhcpv6-stateless"})


class FixedIp(Definition):
    """An address in a subnet."""

    subnet_id: Id
    ip_address: Address


class AddressPair(Definition):
    """An address besides its own that a port may use."""

    ip_address: AddressOrCidr
    mac_address: Mac | None = None


class DhcpOption(Definition):
    """A DHCP option of a port."""

    opt_name: str


class Port(Definition):
    """A port. ``fixed_ips`` and ``security_groups``: () means none, None that the bank does not tell."""

    id: Id
    network_id: Id
    name: str | None = None
    description: str | None = None
    device_id: str | None = None
    device_owner: str | None = None
    mac_address: Mac | None = None
    admin_state_up: bool | None = None
    fixed_ips: ItemsOrNone[FixedIp] = None
    security_groups: ItemsOrNone[Id] = None
    allowed_address_pairs: Items[AddressPair] = ()
    port_security_enabled: bool | None = None
    extra_dhcp_opts: Items[DhcpOption] = ()

    @property
    def fate(self) -> Fate:
        """What a restore does with it."""
        return ruling(self.device_owner or "").fate


class Gateway(Definition):
    """A router's way out."""

    network_id: Id
    enable_snat: bool | None = None
    external_fixed_ips: Items[FixedIp] = ()


class Router(Definition):
    """A router."""

    name: str | None = None
    description: str | None = None
    availability_zone_hints: Items[str] = ()
    external_gateway_info: Gateway | None = None
    routes: Items[Route] = ()


class Rule(Definition):
    """A rule of a security group; what is None matches anything."""

    id: Id
    direction: Literal["ingress", "egress"]
    ethertype: Literal["IPv4", "IPv6"]
    protocol: str | None = None
    # For ICMP these are type and code.
    port_range_min: PortNumber | None = None
    port_range_max: PortNumber | None = None
    remote_group_id: Id | None = None
    remote_ip_prefix: Cidr | None = None
    remote_address_group_id: str | None = None
    description: str | None = None


class SecurityGroup(Definition):
    """A security group."""

    name: str | None = None
    description: str | None = None
    rules: Items[Rule] = Field(default=(), alias="security_group_rules")


class Interface(NamedTuple):
    """A router's interface.

    key: original id under which it is put: the bank's ports have ids, interfaces have none.
    subnet_ids: several if one port leads into several subnets.
    port_id: the port that it needs since its address is not the subnet's gateway; None for the usual one.
    """

    key: str
    router_id: str
    subnet_ids: tuple[str, ...]
    port_id: str | None


class NetworkDefinition(Definition):
    """Metadata of ``OS::Neutron::Network``: the topology of a project, each part by its original id."""

    networks: ById[Network] = Field(default_factory=dict, alias="network_metadata")
    subnets: ById[Subnet] = Field(default_factory=dict, alias="subnet_metadata")
    ports: ById[Port] = Field(default_factory=dict, alias="port_metadata")
    routers: ById[Router] = Field(default_factory=dict, alias="router_metadata")
    security_groups: ById[SecurityGroup] = Field(default_factory=dict, alias="security-group_metadata")

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        for key, port in self.ports.items():
            if port.id != key:
                raise PydanticCustomError(
                    "port", "port_metadata has the port {id} as {key}", {"id": port.id, "key": key}
                )
        return self

    def is_own(self, network_id: str) -> bool:
        """Say whether the project has the network for itself: it is in the bank, and no external one."""
        network = self.networks.get(network_id)
        return network is not None and not network.external

    def ports_of(self, server_id: str) -> tuple[Port, ...]:
        """Return the ports of a server by original id, as the bank does not tell the order of its NICs."""
        return self._ports_by_server.get(server_id, ())

    def floating_candidates(self, server_id: str) -> tuple[tuple[Port, str], ...]:
        """Return where a floating IP of a server can have been: its ports, each with an IPv4 address.

        Only addresses in subnets with an interface of a router that has an external gateway count.
        """
        return tuple(
            (port, fixed.ip_address)
            for port in self.ports_of(server_id)
            for fixed in port.fixed_ips or ()
            if fixed.subnet_id in self._subnets_with_way_out and ip_address(fixed.ip_address).version == 4  # noqa: PLR2004 - IPv4
        )

    def gateways_of(self, subnet_id: str) -> tuple[str, ...]:
        """Return the external networks that the routers of a subnet lead to."""
        gateways = (
            self.routers[each.router_id].external_gateway_info
            for each in self.interfaces
            if subnet_id in each.subnet_ids
        )
        return tuple(gateway.network_id for gateway in gateways if gateway)

    def interfaces_of_subnet(self, subnet_id: str) -> tuple[str, ...]:
        """Return the original ids under which the router interfaces of a subnet are put.

        With ``networks=existing`` the routers are there already and nothing is put: ask `HeatTemplate.has`.
        """
        return tuple(each.key for each in self.interfaces if subnet_id in each.subnet_ids)

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces of the project's routers in its subnets, one for each router and subnet."""
        found: dict[tuple[str, str], Interface] = {}
        ports = [port for port in self.ports.values() if self._is_interface(port)]
        for port in sorted(ports, key=lambda port: port.id):
            for interface in self._interfaces_of(port):
                pairs = [(interface.router_id, subnet_id) for subnet_id in interface.subnet_ids]
                if found.keys().isdisjoint(pairs):
                    found |= dict.fromkeys(pairs, interface)
        return tuple(sorted(set(found.values())))

    @cached_property
    def _ports_by_server(self) -> dict[str, tuple[Port, ...]]:
        by_server: dict[str, list[Port]] = {}
        for _, port in sorted(self.ports.items()):
            if port.fate is Fate.OF_SERVER and port.device_id:
                by_server.setdefault(port.device_id, []).append(port)
        return {server_id: tuple(ports) for server_id, ports in by_server.items()}

    @cached_property
    def _subnets_with_way_out(self) -> frozenset[str]:
        return frozenset(
            subnet_id
            for interface in self.interfaces
            if self.routers[interface.router_id].external_gateway_info
            for subnet_id in interface.subnet_ids
        )

    def _is_interface(self, port: Port) -> bool:
        return (
            port.fate is Fate.INTERFACE
            and port.device_id in self.routers
            and self.is_own(port.network_id)
            and bool(port.fixed_ips)
            and all(self._network_of(fixed.subnet_id) == port.network_id for fixed in port.fixed_ips or ())
        )

    def _network_of(self, subnet_id: str) -> str | None:
        subnet = self.subnets.get(subnet_id)
        return subnet.network_id if subnet else None

    def _is_gateway(self, port: Port) -> bool:
        return all(self._is_gateway_address(fixed) for fixed in port.fixed_ips or ())

    def _is_gateway_address(self, fixed: FixedIp) -> bool:
        gateway = self.subnets[fixed.subnet_id].gateway_ip
        return gateway is not None and ip_address(gateway) == ip_address(fixed.ip_address)

    def _interfaces_of(self, port: Port) -> tuple[Interface, ...]:
        router_id = port.device_id or ""
        subnet_ids = tuple(sorted({fixed.subnet_id for fixed in port.fixed_ips or ()}))
        if self._is_gateway(port):
            return tuple(
                Interface(f"interface:{router_id}:{subnet_id}", router_id, (subnet_id,), None)
                for subnet_id in subnet_ids
            )
        return (Interface(f"interface:{router_id}:{subnet_ids[0]}", router_id, subnet_ids, port.id),)


Wish = Literal["keep", "new", "auto"]


class NetworkParameters(Parameters):
    """What a user may set for the network.

    networks: ``new`` builds networks, subnets, routers and groups, ``existing`` uses those with the original ids.
    public_network_id: external network for routers and floating IPs; the original one if it is not given.
    floating_ips: ``new`` allocates addresses, ``existing`` associates those of old, ``skip`` does neither.
    isolated: true builds all anew and apart from what lives: routers without a way out, no interface on networks
        that are not restored, no floating IPs; as in a drill.
    fixed_ips: ``keep`` has ports keep their addresses, ``new`` has Neutron choose others, ``auto`` keeps those
        that fit the target's networks and are free there; as the site map says unless it is given, else ``keep``.
    macs: the same for MAC addresses.
    """

    networks: Literal["new", "existing"] | None = None
    public_network_id: Id | None = None
    floating_ips: Literal["new", "existing", "skip"] | None = None
    isolated: bool = False
    fixed_ips: Wish | None = None
    macs: Wish | None = None
