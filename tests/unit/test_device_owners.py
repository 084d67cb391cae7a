"""Every kind of port that Neutron knows of has its row here: a new one in neutron-lib must get one."""

import neutron_lib.constants
import pytest

from tests.support import nodes
from tests.support.networks import restore_network, router_port, server

# By constant of neutron-lib, without DEVICE_OWNER_; prefixes stand for an owner that begins with them.
BUILT, INTERFACE, ANEW, LEFT_OUT = "built", "interface", "made anew by Neutron", "left out"
ROWS = {
    "DEFAULT": BUILT,
    "COMPUTE_PREFIX": BUILT,
    "ROUTER_INTF": INTERFACE,
    "DVR_INTERFACE": INTERFACE,
    "HA_REPLICATED_INT": INTERFACE,
    "ROUTER_GW": ANEW,
    "ROUTER_HA_INTF": ANEW,
    "ROUTER_SNAT": ANEW,
    "FLOATINGIP": ANEW,
    "AGENT_GW": ANEW,
    "DHCP": ANEW,
    "DISTRIBUTED": ANEW,
    "LOCAL_IP": LEFT_OUT,
    "ROUTED": LEFT_OUT,
    "VPN_ROUTER_GW": LEFT_OUT,
    "VPN_TRANSIT_NETWORK": LEFT_OUT,
    "NETWORK_PREFIX": LEFT_OUT,
    "NEUTRON_PREFIX": LEFT_OUT,
    "MANILA_PREFIX": LEFT_OUT,
    "BAREMETAL_PREFIX": LEFT_OUT,
    "PREFIXES": LEFT_OUT,
}
# Of services that neutron-lib does not know, and nobody's.
OTHERS = {
    "compute:az-7": BUILT,
    "compute:None": BUILT,
    "trunk:subport": LEFT_OUT,
    "Octavia": LEFT_OUT,
    "octavia:health-mgr": LEFT_OUT,
    "neutron:LOADBALANCERV2": LEFT_OUT,
    "manila:share": LEFT_OUT,
    "kuryr:container": LEFT_OUT,
    "network:": LEFT_OUT,
    "compute": LEFT_OUT,
    "somebody's": LEFT_OUT,
}


def constants() -> dict[str, object]:
    names = (name for name in vars(neutron_lib.constants) if name.startswith("DEVICE_OWNER_"))
    return {name.removeprefix("DEVICE_OWNER_"): getattr(neutron_lib.constants, name) for name in names}


def cases():
    for name, row in ROWS.items():
        value = constants()[name]
        for owner in value if isinstance(value, tuple) else [value]:
            yield pytest.param(f"{owner}x" if owner.endswith(":") else owner, row, id=f"{name} {owner}")
    for owner, row in OTHERS.items():
        yield pytest.param(owner, row, id=owner)


def test_every_constant_has_a_row():
    assert constants().keys() == ROWS.keys()


@pytest.mark.parametrize(("owner", "row"), list(cases()))
def test_what_becomes_of_a_port(owner, row):
    device = "server-1" if owner.startswith("compute:") else "router-1"
    restored = restore_network(
        servers=[server("server-1", ["net"])],
        networks=[nodes.net("net")],
        subnets=[nodes.subnet("subnet", "net", "10.0.0.0/24", "10.0.0.1")],
        routers=[nodes.router("router-1")],
        ports=[nodes.port("port", "net", {"subnet": "10.0.0.1"}, device_owner=owner, device_id=device)],
    )
    told = [finding for finding in restored.findings if finding.field.startswith("port_metadata")]
    assert ("port" in restored) == (row == BUILT)
    assert restored.built("RouterInterface") == ({"interface:router-1:subnet"} if row == INTERFACE else set())
    if row in (BUILT, INTERFACE):
        assert told == []
    elif row == ANEW:
        assert [finding.field for finding in told] == ["port_metadata"]
        assert owner in told[0].text
    else:
        assert [finding.field for finding in told] == ["port_metadata.port.device_owner"]
        assert repr(owner) in told[0].text


def test_a_port_never_takes_its_device_along():
    restored = restore_network(
        servers=[server("server-1", ["net"])],
        networks=[nodes.net("net")],
        ports=[
            nodes.port("a", "net", {}, device_owner="compute:nova", device_id="server-1"),
            nodes.port("b", "net", {}, device_owner="", device_id="server-1"),
        ],
    )
    assert restored.built("Port") == {"a", "b"}
    for port in ("a", "b"):
        assert not {"device_id", "device_owner"} & restored.properties(port).keys()


def test_ports_that_neutron_makes_are_told_of_once_by_kind():
    ports = [nodes.port(f"dhcp-{n}", "net", {}, device_owner="network:dhcp") for n in range(3)]
    ports.append(nodes.port("gateway", "net", {}, device_owner="network:router_gateway"))
    restored = restore_network(networks=[nodes.net("net")], ports=ports)
    told = [finding.text for finding in restored.findings if finding.field == "port_metadata"]
    assert [text.split(" (")[0] for text in told] == ["3 of network:dhcp", "1 of network:router_gateway"]


def test_a_distributed_router_gets_one_interface_for_all_its_ports():
    legs = {
        "dvr": ("network:router_interface_distributed", "10.0.0.1"),
        "ha": ("network:ha_router_replicated_interface", "10.0.0.1"),
        "snat": ("network:router_centralized_snat", "10.0.0.9"),
    }
    restored = restore_network(
        networks=[nodes.net("net")],
        subnets=[nodes.subnet("subnet", "net", "10.0.0.0/24", "10.0.0.1")],
        routers=[nodes.router("router-1")],
        ports=[
            router_port("router-1", "net", {"subnet": address}, port_id, device_owner=owner)
            for port_id, (owner, address) in legs.items()
        ],
    )
    assert restored.built() == {"net", "subnet", "router-1", "interface:router-1:subnet"}
