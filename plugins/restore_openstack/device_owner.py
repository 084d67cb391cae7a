"""What becomes of a port, by the owner that Neutron noted for it.

The names are constants of neutron-lib (``DEVICE_OWNER_*``) and, for the services beside Neutron, of their code.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Fate(enum.Enum):
    """What a restore does with a port."""

    # It comes back with the server that it belongs to.
    OF_SERVER = "of server"
    # Nobody used it: it comes back as it is.
    FREE = "free"
    # It is a router's leg in a subnet: the router gets an interface there.
    INTERFACE = "interface"
    # Neutron makes such a port by itself where it needs one.
    MADE_BY_NEUTRON = "made by Neutron"
    # A service made it for something that the bank does not hold.
    LEFT_OUT = "left out"


class Ruling(NamedTuple):
    """What becomes of a port, and what the port is."""

    fate: Fate
    what: str


_BY_OWNER = {
    "": Ruling(Fate.FREE, "an unused port"),
    "network:router_interface": Ruling(Fate.INTERFACE, "an interface of a router"),
    "network:router_interface_distributed": Ruling(Fate.INTERFACE, "an interface of a distributed router"),
    "network:ha_router_replicated_interface": Ruling(Fate.INTERFACE, "an interface of a highly available router"),
    "network:router_gateway": Ruling(Fate.MADE_BY_NEUTRON, "the gateway of a router"),
    "network:router_ha_interface": Ruling(Fate.MADE_BY_NEUTRON, "the heartbeat of a highly available router"),
    "network:router_centralized_snat": Ruling(Fate.MADE_BY_NEUTRON, "the source NAT of a distributed router"),
    "network:floatingip": Ruling(Fate.MADE_BY_NEUTRON, "a floating IP"),
    "network:floatingip_agent_gateway": Ruling(Fate.MADE_BY_NEUTRON, "the gateway of an agent for floating IPs"),
    "network:dhcp": Ruling(Fate.MADE_BY_NEUTRON, "a DHCP server"),
    "network:distributed": Ruling(Fate.MADE_BY_NEUTRON, "the metadata service of a network"),
    "network:local_ip": Ruling(Fate.LEFT_OUT, "a local IP"),
    "network:routed": Ruling(Fate.LEFT_OUT, "a router that is not Neutron's"),
    "network:vpn_router_gateway": Ruling(Fate.LEFT_OUT, "the gateway of a VPN"),
    "network:vpn_namespace": Ruling(Fate.LEFT_OUT, "the transit network of a VPN"),
    "trunk:subport": Ruling(Fate.LEFT_OUT, "a subport of a trunk"),
    "Octavia": Ruling(Fate.LEFT_OUT, "the address of a load balancer"),
}
_BY_PREFIX = {
    "compute:": Ruling(Fate.OF_SERVER, "a port of a server"),
    "network:": Ruling(Fate.LEFT_OUT, "a network service"),
    "neutron:": Ruling(Fate.LEFT_OUT, "a service of Neutron, such as a load balancer"),
    "octavia:": Ruling(Fate.LEFT_OUT, "a load balancer"),
    "manila:": Ruling(Fate.LEFT_OUT, "a share server"),
    "baremetal:": Ruling(Fate.LEFT_OUT, "a bare metal node"),
}
_UNKNOWN = Ruling(Fate.LEFT_OUT, "a service that restore-worker does not know")


def ruling(device_owner: str) -> Ruling:
    """Return what becomes of a port with that owner."""
    if device_owner in _BY_OWNER:
        return _BY_OWNER[device_owner]
    prefix, colon, _ = device_owner.partition(":")
    return _BY_PREFIX.get(prefix + colon, _UNKNOWN)
