"""What an application is made of, in models that can be compared field by field.

Their fields are called as in docs/not-in-the-bank.md: by Neutron's names behind the part of the topology, by the
plugins' names for all else.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Reference(NamedTuple):
    """Id of something that has another one after a restore."""

    id: str


T = TypeVar("T")
Ref = Annotated[Reference, BeforeValidator(lambda value: Reference(value) if isinstance(value, str) else value)]
# What has no order, and what has one.
Some = Annotated[frozenset[T], Field(strict=False)]
Row = Annotated[tuple[T, ...], Field(strict=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Record(_Model):
    """One thing of the application.

    type, part: section of docs/not-in-the-bank.md, and the beginning of its fields there.
    """

    type: ClassVar[str] = "OS::Neutron::Network"
    part: ClassVar[str] = ""


class ServerRecord(Record):
    """A server.

    nics: ports in the order of the interfaces.
    volumes, mountpoint: in the order of the devices.
    floating_ip_ports: port, fixed address and external network of each floating IP.
    """

    type: ClassVar[str] = "OS::Nova::Server"

    name: str
    power_state: str
    flavor: str
    image: Ref | None
    key_name: str | None
    availability_zone: str | None
    nics: Row[Ref]
    security_groups: Some[str]
    volumes: Row[Ref]
    mountpoint: Row[str]
    floating_ips: Some[str]
    floating_ip_ports: Some[tuple[Ref, str, Ref]]
    metadata: dict[str, str]
    description: str | None
    tags: Some[str]
    config_drive: str


class VolumeRecord(Record):
    """A volume; content: a digest of its bytes."""

    type: ClassVar[str] = "OS::Cinder::Volume"

    name: str
    size: int
    content: str
    bootable: bool
    availability_zone: str
    volume_type: str
    multiattach: bool
    encryption: bool = Field(validation_alias="encrypted")
    description: str | None
    metadata: dict[str, str]
    volume_image_metadata: dict[str, str] | None
    group_id: str | None


class ImageRecord(Record):
    """An image; content: a digest of its bytes, as they were downloaded."""

    type: ClassVar[str] = "OS::Glance::Image"

    name: str
    size: int
    content: str
    checksum: str
    disk_format: str
    container_format: str
    min_disk: int
    min_ram: int
    visibility: str
    protected: bool
    tags: Some[str]
    properties: dict[str, str]


class NetworkRecord(Record):
    """A network."""

    part: ClassVar[str] = "network_metadata."

    name: str
    description: str
    admin_state_up: bool
    port_security_enabled: bool
    mtu: int
    shared: bool
    external: bool = Field(alias="router:external")
    qos_policy_id: str | None
    dns_domain: str | None
    availability_zone_hints: Some[str]
    tags: Some[str]


class Range(_Model):
    """Addresses that Neutron may give out."""

    start: str
    end: str


class Route(_Model):
    """A static route."""

    destination: str
    nexthop: str


class SubnetRecord(Record):
    """A subnet."""

    part: ClassVar[str] = "subnet_metadata."

    network_id: Ref
    name: str
    description: str
    cidr: str
    ip_version: int
    gateway_ip: str | None
    allocation_pools: Some[Range]
    dns_nameservers: Row[str]
    host_routes: Some[Route]
    enable_dhcp: bool
    ipv6_address_mode: str | None
    ipv6_ra_mode: str | None
    subnetpool_id: str | None
    tags: Some[str]


class FixedIp(_Model):
    """An address in a subnet."""

    subnet_id: Ref
    ip_address: str


class AddressPair(_Model):
    """An address besides its own that a port may use."""

    ip_address: str
    mac_address: str


class PortRecord(Record):
    """A port of a server, or of nobody."""

    part: ClassVar[str] = "port_metadata."

    network_id: Ref
    name: str
    description: str
    device_id: Ref
    mac_address: str
    admin_state_up: bool
    fixed_ips: Some[FixedIp]
    security_groups: Some[Ref]
    allowed_address_pairs: Some[AddressPair]
    port_security_enabled: bool
    vnic_type: str = Field(alias="binding:vnic_type")
    qos_policy_id: str | None
    dns_name: str | None
    tags: Some[str]


class Gateway(_Model):
    """A router's way out, but for its addresses there."""

    network_id: Ref
    enable_snat: bool


class RouterRecord(Record):
    """A router.

    interfaces: its addresses in the project's subnets.
    external_fixed_ips: those on the external network.
    """

    part: ClassVar[str] = "router_metadata."

    name: str
    description: str
    admin_state_up: bool
    distributed: bool | None
    external_gateway_info: Gateway | None
    external_fixed_ips: Some[FixedIp] = Field(alias="external_gateway_info.external_fixed_ips")
    routes: Some[Route]
    interfaces: Some[FixedIp]
    availability_zone_hints: Some[str]
    tags: Some[str]


class Rule(_Model):
    """What a rule of a security group says."""

    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None
    remote_group_id: Ref | None
    remote_address_group_id: str | None


class DescribedRule(Rule):
    """A rule, and what people say of it."""

    description: Annotated[str, BeforeValidator(lambda value: value or "")]


class GroupRecord(Record):
    """A security group."""

    part: ClassVar[str] = "security-group_metadata."

    name: str
    description: str
    stateful: bool
    rules: Some[Rule] = Field(alias="security_group_rules")
    described_rules: Some[DescribedRule] = Field(alias="security_group_rules.description")
    tags: Some[str]
