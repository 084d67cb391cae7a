import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from restore_openstack.network import NetworkPlugin
from restore_openstack.project import ProjectPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.topology import NetworkDefinition
from restore_worker.plugin import Produces
from tests.support import nodes
from tests.support.fakes import FakeReport, FakeSelection, FakeTarget, render
from tests.support.networks import PROJECT_ID, restore_network, router_port, server, server_port
from tests.support.stub_cloud import stub_cloud


def shop():
    """A topology: web and db servers in nets of their own behind one router, an island with the third server."""
    return {
        "networks": [nodes.net("app", "app-net"), nodes.net("db", "db-net"), nodes.net("island")],
        "subnets": [
            nodes.subnet("app-v4", "app", "10.1.0.0/24", "10.1.0.1"),
            nodes.subnet("db-v4", "db", "10.2.0.0/24", "10.2.0.1"),
            nodes.subnet("island-v4", "island", "10.3.0.0/24", None),
        ],
        "routers": [nodes.router("edge", "edge", "public")],
        "groups": [
            nodes.group("web", "web"),
            nodes.group("pg", "pg", [nodes.rule(protocol="tcp", remote_group_id="pool")]),
            nodes.group("pool", "pool", [nodes.rule(protocol="tcp", remote_group_id="web")]),
            nodes.group("unused", "unused"),
        ],
        "ports": [
            router_port("edge", "app", {"app-v4": "10.1.0.1"}),
            router_port("edge", "db", {"db-v4": "10.2.0.1"}),
            server_port("web-port", "web-1", "app", {"app-v4": "10.1.0.5"}, security_groups=["web"]),
            server_port("db-port", "db-1", "db", {"db-v4": "10.2.0.5"}, security_groups=["pg"]),
            server_port("alone-port", "alone", "island", {"island-v4": "10.3.0.5"}),
            nodes.port("spare", "app", {"app-v4": "10.1.0.99"}),
        ],
    }


SERVERS = [server("web-1", ["app"]), server("db-1", ["db"]), server("alone", ["island"])]
LEG_APP, LEG_DB = "interface:edge:app-v4", "interface:edge:db-v4"


def one_net(port=None, **subnet):
    """A network with one subnet and one unbound port."""
    fields = {"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1", **subnet}
    return {
        "networks": [nodes.net("net")],
        "subnets": [nodes.subnet("sub", "net", fields.pop("cidr"), fields.pop("gateway_ip"), **fields)],
        "ports": [port] if port else [],
    }


class TestPruning:
    def test_the_whole_checkpoint_brings_everything_back(self):
        restored = restore_network(servers=SERVERS, **shop())
        assert restored.built() == {
            *("app", "db", "island", "app-v4", "db-v4", "island-v4", "edge", LEG_APP, LEG_DB),
            *("web", "pg", "pool", "unused", "web-port", "db-port", "alone-port", "spare"),
        }
        assert restored.value("public") == "public"
        assert restored.problems == []

    def test_a_part_brings_back_what_its_servers_reach(self):
        restored = restore_network(servers=SERVERS, restored=["db-1"], parameters={"networks": "new"}, **shop())
        assert restored.built() == {"db", "db-v4", "edge", LEG_DB, "pg", "pool", "web", "db-port"}
        assert "2 networks, 2 subnets, 1 groups, 1 ports" in restored.told("networks")

    def test_ports_of_servers_that_are_not_restored_are_never_made(self):
        restored = restore_network(servers=SERVERS[:1], **shop())
        assert restored.built("Port") == {"web-port", "spare"}
        for port, owner in (("db-port", "db-1"), ("alone-port", "alone")):
            assert owner in restored.told(f"port_metadata.{port}.device_owner")

    def test_a_network_that_is_chosen_itself_is_not_pruned(self):
        some = restore_network(servers=SERVERS, restored=["db-1"], explicit=True, **shop())
        everything = restore_network(servers=SERVERS, restored=[], **shop())
        assert not some.problems
        assert everything.fragments.keys() < some.fragments.keys()

    def test_a_part_has_no_default_for_networks_and_says_which_to_choose(self):
        restored = restore_network(servers=SERVERS, restored=["db-1"], **shop())
        (problem,) = restored.problems
        assert problem.field == "networks"
        assert "networks=existing if the servers were lost" in problem.text
        assert "networks=new" in problem.text

    def test_the_network_alone_brings_back_all_but_the_ports_of_servers(self):
        restored = restore_network(servers=SERVERS, restored=[], **shop())
        assert restored.problems == []
        assert restored.built("Port") == {"spare"}
        assert restored.built("Net") == {"app", "db", "island"}

    def test_existing_networks_get_nothing_but_the_ports(self):
        restored = restore_network(
            servers=SERVERS, restored=["db-1"], parameters={"networks": "existing"}, **shop()
        )
        assert restored.built() == {"db-port"}
        constraints = {key: part.constraint for key, part in restored.fragments.items() if key != "db-port"}
        assert constraints == {
            "db": "neutron.network",
            "db-v4": "neutron.subnet",
            "pg": "neutron.security_group",
        }
        assert all(restored.value(key) == key for key in constraints)
        port = restored.properties("db-port")
        assert port["fixed_ips"] == [{"subnet": {"get_param": "p_subnet_db-v4"}, "ip_address": "10.2.0.5"}]
        assert restored.findings == []

    def test_existing_networks_that_no_server_uses_are_nothing(self):
        restored = restore_network(servers=SERVERS, restored=[], parameters={"networks": "existing"}, **shop())
        assert restored.fragments == {}
        assert "no server is restored" in restored.told("networks")

    def test_a_server_without_ports_uses_existing_networks_and_groups_too(self):
        bare = server("bare", ["island"], security_groups=[{"name": "unused"}])
        restored = restore_network(
            servers=[bare, *SERVERS], restored=["bare"], parameters={"networks": "existing"}, **shop()
        )
        assert set(restored.fragments) == {"island", "unused"}
        assert restored.findings == []

    def test_a_server_without_ports_still_brings_its_network_and_groups(self):
        bare = server("bare", ["island"], security_groups=[{"name": "unused"}])
        restored = restore_network(
            servers=[bare, *SERVERS], restored=["bare"], parameters={"networks": "new"}, **shop()
        )
        assert restored.built() == {"island", "island-v4", "unused"}

    def test_servers_of_another_project_need_nothing_here(self):
        foreign = server("foreign", ["elsewhere"])
        restored = restore_network(servers=[foreign, *SERVERS], **shop())
        assert restored.built("Port") == {"web-port", "db-port", "alone-port", "spare"}

    def test_the_same_topology_in_another_order_gives_the_same_parts_in_the_same_order(self):
        one, other = (
            restore_network(servers=SERVERS, **shop()),
            restore_network(servers=SERVERS[::-1], **{kind: parts[::-1] for kind, parts in shop().items()}),
        )
        assert list(one.fragments.items()) == list(other.fragments.items())


class TestNetworks:
    def test_a_network(self):
        restored = restore_network(
            networks=[
                nodes.net(
                    "net",
                    "yes",
                    admin_state_up=False,
                    description="1e3",
                    tags=["gold"],
                    shared=True,
                    mtu=9000,
                    availability_zone_hints=["az-1"],
                )
            ]
        )
        assert restored.properties("net") == {
            "name": "yes",
            "admin_state_up": False,
            "port_security_enabled": True,
            "tags": ["gold"],
            "value_specs": {"description": "1e3"},
        }
        assert {told.field for told in restored.findings} == {
            "network_metadata.mtu",
            "network_metadata.net.shared",
            "network_metadata.net.availability_zone_hints",
        }
        assert "9000" in restored.told("network_metadata.mtu")

    def test_nulls_are_absent(self):
        bank = {"network_metadata": {"net": {"id": "net", "name": None, "tags": None, "mtu": None}}}
        bank |= {"port_metadata": None, "router_metadata": None}
        node = nodes.Node(nodes.NETWORK, PROJECT_ID, "Network Topology", None, bank)
        restored = restore_network(node)
        assert restored.properties("net") == {}
        assert restored.findings == []

    def test_an_external_network_is_not_built(self):
        restored = restore_network(
            networks=[nodes.net("ext", "public", **{"router:external": True})],
            subnets=[nodes.subnet("ext-v4", "ext", "203.0.113.0/24", "203.0.113.1")],
            routers=[nodes.router("edge", "edge", "ext")],
        )
        assert restored.built() == {"edge"}
        assert restored.value("ext") == "ext"
        assert "not built" in restored.told("network_metadata.ext.router:external")

    @pytest.mark.parametrize("gateway", [None, "10.0.0.254"])
    def test_a_subnet(self, gateway):
        subnet = {
            "gateway_ip": gateway,
            "allocation_pools": [{"start": "10.0.0.10", "end": "10.0.0.20"}],
            "dns_nameservers": ["1.1.1.1"],
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
            "enable_dhcp": False,
            "subnetpool_id": "pool-1",
            "name": "",
        }
        restored = restore_network(**one_net(**subnet))
        assert restored.properties("sub") == {
            "network": restored.ref("net"),
            "name": "",
            "cidr": "10.0.0.0/24",
            "ip_version": 4,
            "gateway_ip": gateway or "",
            "allocation_pools": [{"start": "10.0.0.10", "end": "10.0.0.20"}],
            "dns_nameservers": ["1.1.1.1"],
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
            "enable_dhcp": False,
        }
        assert "pool-1" in restored.told("subnet_metadata.sub.subnetpool_id")

    def test_a_subnet_of_ipv6(self):
        modes = {"ipv6_address_mode": "dhcpv6-stateful", "ipv6_ra_mode": "dhcpv6-stateful"}
        restored = restore_network(**one_net(cidr="fd00::/64", gateway_ip="fd00::1", **modes))
        properties = restored.properties("sub")
        assert (properties["ip_version"], properties["gateway_ip"]) == (6, "fd00::1")
        assert properties.items() >= modes.items()


class TestPorts:
    def port(self, **fields):
        return nodes.port("port", "net", {"sub": "10.0.0.7"}, **fields)

    def test_a_port(self):
        port = self.port(
            name="eth0",
            mac_address="fa:16:3e:11:22:33",
            admin_state_up=False,
            description="first",
            security_groups=["a", "b"],
            allowed_address_pairs=[
                {"ip_address": "10.0.0.0/28", "mac_address": "fa:16:3e:11:22:33"},
                {"ip_address": "10.0.0.100"},
            ],
        )
        restored = restore_network(groups=[nodes.group("a"), nodes.group("b")], **one_net(port))
        assert restored.properties("port") == {
            "network": restored.ref("net"),
            "name": "eth0",
            "admin_state_up": False,
            "value_specs": {"description": "first"},
            "security_groups": [restored.ref("a"), restored.ref("b")],
            "mac_address": "fa:16:3e:11:22:33",
            "port_security_enabled": True,
            "fixed_ips": [{"subnet": restored.ref("sub"), "ip_address": "10.0.0.7"}],
            "allowed_address_pairs": [
                {"ip_address": "10.0.0.0/28", "mac_address": "fa:16:3e:11:22:33"},
                {"ip_address": "10.0.0.100"},
            ],
        }

    @pytest.mark.parametrize(("groups", "said"), [([], []), (None, None)])
    def test_no_security_groups_is_not_the_default_one(self, groups, said):
        restored = restore_network(**one_net(self.port(security_groups=groups)))
        assert restored.properties("port").get("security_groups") == said

    def test_a_port_without_addresses(self):
        restored = restore_network(**one_net(self.port(fixed_ips=[])))
        properties = restored.properties("port")
        assert properties["no_fixed_ips"] is True
        assert "fixed_ips" not in properties

    @pytest.mark.parametrize("mode", ["slaac", "dhcpv6-stateless"])
    @pytest.mark.parametrize("field", ["ipv6_address_mode", "ipv6_ra_mode"])
    def test_an_address_that_follows_from_the_mac_is_not_asked_for(self, mode, field):
        port = nodes.port("port", "net", {"sub": "fd00::f816:3eff:fe00:1"})
        restored = restore_network(**one_net(port, cidr="fd00::/64", gateway_ip="fd00::1", **{field: mode}))
        properties = restored.properties("port")
        assert properties["fixed_ips"] == [{"subnet": restored.ref("sub")}]
        assert properties["mac_address"] == port["mac_address"]

    def test_without_port_security_there_are_neither_groups_nor_address_pairs(self):
        pairs = [{"ip_address": "10.0.0.100", "mac_address": None}]
        port = self.port(port_security_enabled=False, security_groups=["a"], allowed_address_pairs=pairs)
        restored = restore_network(groups=[nodes.group("a")], **one_net(port))
        properties = restored.properties("port")
        assert (properties["port_security_enabled"], properties["security_groups"]) == (False, [])
        assert "allowed_address_pairs" not in properties
        for field in ("security_groups", "allowed_address_pairs"):
            assert "without port security" in restored.told(f"port_metadata.port.{field}")

    def test_dhcp_options_are_told_of(self):
        options = [{"opt_name": "tftp-server", "opt_value": "10.0.0.2", "ip_version": 4}]
        restored = restore_network(**one_net(self.port(extra_dhcp_opts=options)))
        assert "tftp-server" in restored.told("port_metadata.port.extra_dhcp_opts")

    def test_on_a_network_of_somebody_else_nobody_chooses_addresses(self):
        pairs = [{"ip_address": "10.0.0.100", "mac_address": None}]
        restored = restore_network(
            servers=[server("s", ["shared"])],
            ports=[server_port("port", "s", "shared", {"far": "192.0.2.7"}, allowed_address_pairs=pairs)],
        )
        assert restored.value("shared") == "shared"
        assert restored.fragments["shared"].constraint == "neutron.network"
        assert restored.properties("port") == {
            "network": {"get_param": "p_net_shared"},
            "name": "",
            "admin_state_up": True,
            "security_groups": [],
        }
        assert "shared" in restored.told("port_metadata.port.network_id")
        told = restored.told("port_metadata.port.fixed_ips")
        assert "192.0.2.7, fa:16:3e:00:00:01" in told

    def test_on_a_network_of_somebody_else_port_security_and_address_pairs_are_lost_but_told(self):
        pairs = [{"ip_address": "10.0.0.99"}]
        ports = [
            nodes.port("open", "alien", {}, port_security_enabled=False),
            nodes.port("vip", "alien", {}, allowed_address_pairs=pairs),
        ]
        restored = restore_network(ports=ports)
        assert {"port_security_enabled", "allowed_address_pairs"}.isdisjoint(
            restored.properties("open") | restored.properties("vip")
        )
        assert "alien" in restored.told("port_metadata.open.port_security_enabled")
        assert "10.0.0.99" in restored.told("port_metadata.vip.allowed_address_pairs")

    def test_a_subnet_or_group_that_the_bank_lacks(self):
        port = nodes.port("port", "net", {"sub": "10.0.0.7", "gone": "10.5.0.7"}, security_groups=["far"])
        restored = restore_network(**one_net(port))
        assert restored.properties("port")["fixed_ips"] == [
            {"subnet": restored.ref("sub"), "ip_address": "10.0.0.7"}
        ]
        assert "10.5.0.7" in restored.told("port_metadata.port.fixed_ips")
        assert restored.value("far") == "far"
        assert "far" in restored.told("port_metadata.port.security_groups")

    def test_ports_may_all_have_the_same_empty_name(self):
        ports = [nodes.port(f"port-{n}", "net", {}) for n in range(3)]
        restored = restore_network(networks=[nodes.net("net")], ports=ports)
        assert restored.built("Port") == {"port-0", "port-1", "port-2"}


class TestRouters:
    def restore(self, router, legs=(), **parameters):
        return restore_network(
            networks=[nodes.net("a"), nodes.net("b")],
            subnets=[
                nodes.subnet("a4", "a", "10.1.0.0/24", "10.1.0.1"),
                nodes.subnet("a6", "a", "fd00:1::/64", "fd00:1::1"),
                nodes.subnet("b4", "b", "10.2.0.0/24", None),
            ],
            routers=[router],
            ports=list(legs),
            parameters=parameters,
        )

    def test_the_gateway_is_the_original_external_network_unless_another_is_given(self):
        original = self.restore(nodes.router("r", "edge", "public"))
        other = self.restore(nodes.router("r", "edge", "public"), public_network_id="ext-2")
        for restored, value in ((original, "public"), (other, "ext-2")):
            assert restored.properties("r") == {
                "name": "edge",
                "external_gateway_info": {"network": {"get_param": "p_net_public"}},
            }
            assert restored.value("public") == value
            assert restored.fragments["public"].constraint == "neutron.network"
        field = "router_metadata.r.external_gateway_info.network_id"
        assert "public_network_id" in original.told(field)
        assert field not in [told.field for told in other.findings]

    def test_what_only_admins_may_ask_for_is_told(self):
        gateway = {
            "network_id": "public",
            "enable_snat": False,
            "external_fixed_ips": [{"subnet_id": "p4", "ip_address": "203.0.113.40"}],
        }
        router = nodes.router(
            "r", external_gateway_info=gateway, availability_zone_hints=["az-1"], description="way out"
        )
        restored = self.restore(router)
        where = "router_metadata.r"
        assert restored.properties("r")["value_specs"] == {"description": "way out"}
        assert "203.0.113.40" in restored.told(f"{where}.external_gateway_info.external_fixed_ips")
        assert "off" in restored.told(f"{where}.external_gateway_info.enable_snat")
        assert "az-1" in restored.told(f"{where}.availability_zone_hints")

    def test_a_router_without_gateway(self):
        restored = self.restore(nodes.router("r"))
        assert restored.properties("r") == {"name": ""}

    def test_an_interface_at_the_gateway_address_is_made_by_its_subnet(self):
        restored = self.restore(
            nodes.router("r"), [router_port("r", "a", {"a4": "10.1.0.1", "a6": "fd00:1:0::1"})]
        )
        for subnet in ("a4", "a6"):
            assert restored.properties(f"interface:r:{subnet}") == {
                "router": restored.ref("r"),
                "subnet": restored.ref(subnet),
            }
        assert restored.built("Port") == set()
        assert not restored.fragments["interface:r:a4"].output

    @pytest.mark.parametrize(
        ("network", "subnet", "address"), [("a", "a4", "10.1.0.200"), ("b", "b4", "10.2.0.1")]
    )
    def test_an_interface_at_another_address_is_made_by_a_port(self, network, subnet, address):
        restored = self.restore(nodes.router("r"), [router_port("r", network, {subnet: address}, "leg")])
        assert restored.properties(f"interface:r:{subnet}") == {
            "router": restored.ref("r"),
            "port": restored.ref("leg"),
        }
        port = restored.properties("leg")
        assert port["fixed_ips"] == [{"subnet": restored.ref(subnet), "ip_address": address}]
        assert port["port_security_enabled"] is False

    def test_a_port_that_leads_into_several_subnets_is_one_interface_for_them(self):
        leg = router_port("r", "a", {"a4": "10.1.0.9", "a6": "fd00:1::1"}, "leg")
        restored = self.restore(nodes.router("r"), [leg])
        assert restored.built("RouterInterface") == {"interface:r:a4"}
        assert len(restored.properties("leg")["fixed_ips"]) == 2

    def test_interfaces_that_cannot_come_back_are_told_of(self):
        legs = [
            router_port("stranger", "a", {"a4": "10.1.0.3"}, "theirs"),
            router_port("r", "a", {"gone": "10.7.0.1"}, "lost"),
            router_port("r", "shared", {"far": "192.0.2.9"}, "outside"),
        ]
        restored = self.restore(nodes.router("r"), legs)
        assert restored.built("RouterInterface") == set()
        assert "stranger" in restored.told("port_metadata.theirs.device_id")
        for leg in ("lost", "outside"):
            assert "not in the bank" in restored.told(f"port_metadata.{leg}.fixed_ips")

    def test_routes_come_after_the_interfaces(self):
        routes = [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}]
        restored = self.restore(nodes.router("r", routes=routes), [router_port("r", "a", {"a4": "10.1.0.1"})])
        assert restored.properties("routes:r") == {"router": restored.ref("r"), "routes": routes}
        assert list(restored.fragments["routes:r"].depends_on) == [restored.ref("interface:r:a4")]
        assert not restored.fragments["routes:r"].output

    @pytest.mark.parametrize(
        ("public_network_id", "kept"), [(None, {"10.1.0.9", "203.0.113.9"}), ("ext-2", {"10.1.0.9"})]
    )
    def test_routes_that_lead_nowhere_are_left_out(self, public_network_id, kept):
        """An address in no subnet of the router is behind its gateway, which may be another one now."""
        hops = ("10.1.0.9", "203.0.113.9")
        routes = [{"destination": f"10.{n}.0.0/16", "nexthop": hop} for n, hop in enumerate(hops, 50)]
        legs = [router_port("r", "a", {"a4": "10.1.0.1"})]
        parameters = {"public_network_id": public_network_id} if public_network_id else {}
        restored = self.restore(nodes.router("r", "", "public", routes=routes), legs, **parameters)
        assert {route["nexthop"] for route in restored.properties("routes:r")["routes"]} == kept
        told = [told.text for told in restored.findings if told.field == "router_metadata.r.routes"]
        assert [hop for hop in hops if any(hop in text for text in told)] == [
            hop for hop in hops if hop not in kept
        ]

    def test_routes_through_a_network_that_is_not_restored_are_left_out(self):
        topology = shop()
        routes = [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}]
        topology["routers"] = [nodes.router("edge", "edge", "public", routes=routes)]
        restored = restore_network(servers=SERVERS, restored=["db-1"], parameters={"networks": "new"}, **topology)
        assert "routes:edge" not in restored
        assert "10.1.0.9" in restored.told("router_metadata.edge.routes")


class TestDefinition:
    def definition(self, **topology):
        return NetworkDefinition.model_validate(nodes.network(PROJECT_ID, **topology).metadata)

    def test_ports_of_a_server_by_id(self):
        ports = [server_port(port_id, "s", "net", {}) for port_id in ("c", "a", "b")]
        definition = self.definition(ports=[*ports, nodes.port("d", "net", {}, device_id="s")])
        assert [port.id for port in definition.ports_of("s")] == ["a", "b", "c"]
        assert definition.ports_of("nobody") == ()

    def test_a_floating_ip_can_only_be_where_a_router_leads_out(self):
        subnets = [
            nodes.subnet("out", "a", "10.1.0.0/24", "10.1.0.1"),
            nodes.subnet("out6", "a", "fd00::/64", "fd00::1"),
            nodes.subnet("in", "b", "10.2.0.0/24", "10.2.0.1"),
            nodes.subnet("none", "c", "10.3.0.0/24", "10.3.0.1"),
        ]
        definition = self.definition(
            networks=[nodes.net(each) for each in "abc"],
            subnets=subnets,
            routers=[nodes.router("edge", "", "public"), nodes.router("inner")],
            ports=[
                router_port("edge", "a", {"out": "10.1.0.1", "out6": "fd00::1"}),
                router_port("inner", "b", {"in": "10.2.0.1"}),
                server_port("p1", "s", "a", {"out": "10.1.0.5", "out6": "fd00::5"}),
                server_port("p2", "s", "b", {"in": "10.2.0.5"}),
                server_port("p3", "s", "c", {"none": "10.3.0.5"}),
                server_port("p4", "s", "a", {"out": "10.1.0.6"}),
            ],
        )
        candidates = [(port.id, address) for port, address in definition.floating_candidates("s")]
        assert candidates == [("p1", "10.1.0.5"), ("p4", "10.1.0.6")]
        assert definition.interfaces_of_subnet("out") == ("interface:edge:out",)
        assert definition.interfaces_of_subnet("none") == ()

    @pytest.mark.parametrize(
        ("damage", "field"),
        [
            ({"network_metadata": {"n": {"name": {"get_file": "/etc/passwd"}}}}, "network_metadata.n.name"),
            ({"network_metadata": {"n": {"tags": [{"get_param": "x"}]}}}, "network_metadata.n.tags.0"),
            ({"network_metadata": {"n": {"admin_state_up": "yes"}}}, "network_metadata.n.admin_state_up"),
            ({"network_metadata": {"../n": {}}}, "network_metadata.../n.[key]"),
            ({"network_metadata": []}, "network_metadata"),
            ({"subnet_metadata": {"s": {"network_id": "n", "cidr": "10.0.0.0/33", "ip_version": 4}}}, "subnet_metadata.s.cidr"),
            ({"subnet_metadata": {"s": {"network_id": "n", "cidr": "::/0", "ip_version": 5}}}, "subnet_metadata.s.ip_version"),
            ({"port_metadata": {"p": {"id": "p"}}}, "port_metadata.p.network_id"),
            ({"port_metadata": {"p": {"id": "p", "network_id": "n/../m"}}}, "port_metadata.p.network_id"),
            ({"port_metadata": {"p": {"id": "p", "network_id": "n", "mac_address": ""}}}, "port_metadata.p.mac_address"),
            (
                {"port_metadata": {"p": {"id": "p", "network_id": "n", "fixed_ips": [{"subnet_id": "s", "ip_address": 1}]}}},
                "port_metadata.p.fixed_ips.0.ip_address",
            ),
            ({"port_metadata": {"p": {"id": "q", "network_id": "n"}}}, ""),
            ({"router_metadata": {"r": {"external_gateway_info": {}}}}, "router_metadata.r.external_gateway_info.network_id"),
            (
                {"security-group_metadata": {"g": {"security_group_rules": [nodes.rule(id="r", port_range_min=-1)]}}},
                "security-group_metadata.g.security_group_rules.0.port_range_min",
            ),
        ],
    )  # fmt: skip
    def test_damage_is_refused_by_field(self, damage, field):
        with pytest.raises(ValidationError) as error:
            NetworkDefinition.model_validate(damage)
        assert ".".join(map(str, error.value.errors()[0]["loc"])) == field

    def test_a_port_under_the_id_of_another_is_named(self):
        with pytest.raises(ValidationError, match="the port q as p"):
            NetworkDefinition.model_validate({"port_metadata": {"p": {"id": "q", "network_id": "n"}}})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", "yes", "1e3", "null", "~", "!!int 1", "{get_file: x}", "a\nb", "- a", "0x1f", "2020-01-01", "default"]
)


@given(TEXT, TEXT | st.none(), TEXT | st.none(), st.lists(TEXT, max_size=2) | st.none())
def test_any_text_stays_the_same_text(name, description, null_or_name, tags):
    restored = restore_network(
        networks=[nodes.net("net", name, description=description, tags=tags)],
        groups=[nodes.group("group", name, description=description)],
        routers=[nodes.router("router", null_or_name, description=description)],
        ports=[nodes.port("port", "net", {}, name=null_or_name, description=description)],
    )
    net = restored.properties("net")
    assert (net["name"], net.get("tags", [])) == (name, tags or [])
    assert net.get("value_specs", {}).get("description", "") == (description or "")
    assert restored.properties("group").get("description") == description
    assert restored.properties("port").get("name") == restored.properties("router").get("name") == null_or_name


def test_work_is_the_same_after_its_way_to_a_worker():
    selection = FakeSelection([NetworkPlugin()], [nodes.network(PROJECT_ID, **shop())])
    (key,) = selection.nodes
    work, _ = selection.prepare(key)
    again = NetworkPlugin.Work.model_validate(json.loads(json.dumps(work.model_dump(mode="json"))))
    assert again.model_dump(mode="json") == work.model_dump(mode="json")
    assert NetworkPlugin().produces(work) is Produces.RESOURCE


def test_a_project_only_groups():
    project = nodes.project(PROJECT_ID)
    network = nodes.network(PROJECT_ID, networks=[nodes.net("net")])
    result = render(
        FakeSelection([ProjectPlugin(), NetworkPlugin()], [network, project], {project.key: [network.key]})
    )
    assert result.produced[project.key] is Produces.NOTHING
    assert result.fragments.keys() == {"net"}
    assert ProjectPlugin.Definition is None


class TestChecks:
    """What must be on the target beforehand."""

    @pytest.fixture
    def cloud(self):
        with stub_cloud() as stub:
            stub.networks["public"] = {"id": "public", "name": "internet", "router:external": True}
            yield stub

    @staticmethod
    def problems(cloud, **parameters):
        selection = FakeSelection(
            [NetworkPlugin(), ServerPlugin()],
            [nodes.network(PROJECT_ID, **shop()), *SERVERS],
            None,
            {nodes.NETWORK: parameters},
        )
        (network,) = selection.find(nodes.NETWORK)
        work, _ = selection.prepare(network.key)
        report = FakeReport(network.id)
        NetworkPlugin().check(network, work, FakeTarget(cloud.connect()), report)
        return [f"{each.field}: {each.text}" for each in report.problems]

    def test_new_networks_need_the_external_one(self, cloud):
        assert self.problems(cloud) == []
        (told,) = self.problems(cloud, public_network_id="other")
        assert told.startswith("public_network_id: the target has no network 'other'")
        assert "to public (internet)" in told
        cloud.networks["public"]["router:external"] = False
        (told,) = self.problems(cloud)
        assert "'public' of the target is not external" in told

    def test_what_is_built_is_claimed_of_neutrons_quotas(self, cloud):
        selection = FakeSelection(
            [NetworkPlugin(), ServerPlugin()], [nodes.network(PROJECT_ID, **shop()), *SERVERS]
        )
        (network,) = selection.find(nodes.NETWORK)
        work, _ = selection.prepare(network.key)
        target = FakeTarget(cloud.connect())
        NetworkPlugin().check(network, work, target, FakeReport(network.id))
        built = Counter(part.type for part in work.parts.values())
        interfaces = [part for part in work.parts.values() if part.type == "OS::Neutron::RouterInterface"]
        made_by_neutron = [each for each in interfaces if "subnet" in each.properties]
        rules = [rule for part in work.parts.values() for rule in part.properties.get("rules", ())]
        assert target.claims == {
            "network.networks": built["OS::Neutron::Net"],
            "network.subnets": built["OS::Neutron::Subnet"],
            "network.routers": built["OS::Neutron::Router"],
            "network.ports": built["OS::Neutron::Port"] + len(made_by_neutron),
            "network.security_groups": built["OS::Neutron::SecurityGroup"],
            "network.security_group_rules": len(rules) + built["OS::Neutron::SecurityGroupRule"],
        }

    def test_the_external_network_may_be_named(self, cloud):
        assert self.problems(cloud, public_network_id="internet") == []
        cloud.networks["second"] = {"id": "second", "name": "internet", "router:external": True}
        (told,) = self.problems(cloud, public_network_id="internet")
        assert "2 networks named 'internet'" in told

    def add_shop(self, cloud):
        """Have the target hold all of the shop but its ports."""
        for kind, there in (("networks", cloud.networks), ("subnets", cloud.subnets), ("groups", cloud.groups)):
            there.update({each["id"]: each for each in shop()[kind]})

    def test_existing_networks_must_all_be_there(self, cloud):
        self.add_shop(cloud)
        assert self.problems(cloud, networks="existing") == []
        del cloud.networks["db"], cloud.subnets["db-v4"], cloud.groups["pg"], cloud.groups["unused"]
        told = self.problems(cloud, networks="existing")
        assert [each.partition(":")[0] for each in told] == ["networks"] * 3
        assert all("set networks=new to have it built" in each for each in told)
        for noun in ("network 'db'", "subnet 'db-v4'", "security group 'pg'"):
            assert any(noun in each for each in told)

    def test_addresses_in_existing_networks_must_be_free(self, cloud):
        self.add_shop(cloud)
        taken = nodes.port("old", "db", {"db-v4": "10.2.0.5"}, device_id="db-1", mac_address="fa:16:3e:00:00:99")
        other = nodes.port("else", "app", {"app-v4": "10.2.0.5"}, mac_address="fa:16:3e:00:00:98")
        cloud.ports |= {"old": taken, "else": other}
        (told,) = self.problems(cloud, networks="existing")
        assert told.startswith("port_metadata.db-port: 10.2.0.5 is in use by port old of db-1")
        assert "openstack port delete old" in told
        taken["fixed_ips"], taken["mac_address"] = [], "FA-16-3E-00-00-01"
        (told,) = self.problems(cloud, networks="existing")
        assert "fa:16:3e:00:00:01 is in use by port old" in told
        assert self.problems(cloud) == []
