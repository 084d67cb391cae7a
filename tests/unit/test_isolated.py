"""An isolated copy refers to nothing that is on the target already, and what would lead out of it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_worker.template import HeatParameter, HeatResource
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeSelection, Rendering, render
from tests.support.judge import judge
from tests.support.networks import PROJECT_ID, router_port, server, server_port

IMAGE = nodes.image("image", "ubuntu")
ISOLATED = {"isolated": True}


def topology(**more: Any) -> Node:
    """An app and a db network between two routers, of which one leads out; a port on somebody else's network, too."""
    ports = [
        router_port("edge", "app", {"app-v4": "10.1.0.1"}),
        router_port("inner", "app", {"app-v4": "10.1.0.254"}, port_id="inner-leg"),
        router_port("inner", "db", {"db-v4": "10.2.0.1"}),
        server_port("web-port", "web", "app", {"app-v4": "10.1.0.5"}, mac_address="fa:16:3e:00:00:05"),
        server_port("web-foreign", "web", "office", {"office-v4": "192.0.2.5"}),
        nodes.port("spare", "app", {"app-v4": "10.1.0.99"}, security_groups=["web-group", "theirs"]),
        nodes.port("spare-foreign", "office", {"office-v4": "192.0.2.99"}),
    ]
    edge = nodes.router("edge", "edge", "public")
    edge["routes"] = [{"destination": "203.0.113.0/24", "nexthop": "198.51.100.9"}]
    parts: dict[str, Any] = {
        "networks": [nodes.net("app", "app"), nodes.net("db", "db")],
        "subnets": [
            nodes.subnet("app-v4", "app", "10.1.0.0/24", "10.1.0.1"),
            nodes.subnet("db-v4", "db", "10.2.0.0/24", "10.2.0.1"),
        ],
        "routers": [edge, nodes.router("inner", "inner")],
        "groups": [
            nodes.group(
                "web-group",
                "web",
                [
                    nodes.rule(protocol="tcp", remote_group_id="web-group"),
                    nodes.rule(protocol="tcp", remote_group_id="theirs"),
                ],
            )
        ],
        "ports": ports,
    }
    return nodes.network(PROJECT_ID, **parts | more)


WEB = server("web", ["app", "office"], floating_ips=["198.51.100.7"])


def copy(
    servers: list[Node],
    network: dict[str, Any] | None = None,
    of_server: dict[str, Any] | None = None,
    made: Node | None = None,
) -> Rendering:
    """Restore servers with their topology; network, of_server: parameters of the types."""
    plugins = [NetworkPlugin(), ServerPlugin(), ImagePlugin()]
    parameters = {nodes.NETWORK: network or {}, nodes.SERVER: of_server or {}}
    edges = {each.key: [IMAGE.key] for each in servers}
    every = [IMAGE, *([made] if made else []), *servers]
    return render(FakeSelection(plugins, every, edges, parameters))


def told(result: Rendering, field: str) -> str:
    both = (*result.findings, *result.problems)
    return " | ".join(each.text for each in both if each.field == field)


def properties(result: Rendering, original_id: str) -> dict[str, Any]:
    fragment = result.fragments[original_id]
    assert isinstance(fragment, HeatResource)
    return dict(fragment.properties)


def test_all_is_built_and_nothing_of_the_target_is_referred_to():
    result = copy([WEB], ISOLATED, made=topology())
    assert result.problems == []
    judge(result.hot.text)
    given = {key for key, each in result.fragments.items() if isinstance(each, HeatParameter)}
    assert given == {"image"}, "its bytes are in the bank"
    for id_ in ("office", "public", "theirs", "spare-foreign", "web-foreign"):
        assert id_ not in result.fragments
        assert id_ not in result.hot.text
    # The router between the copy's own networks stays.
    assert {"edge", "inner", "interface:inner:db-v4", "interface:inner:app-v4"} <= result.fragments.keys()
    assert "external_gateway_info" not in {name for name, value in properties(result, "edge").items() if value}
    assert not any(each.type.startswith("OS::Neutron::FloatingIP") for each in result.fragments.values())


def test_addresses_stay_as_they_were():
    port = properties(copy([WEB], ISOLATED, made=topology()), "web-port")
    assert port["mac_address"] == "fa:16:3e:00:00:05"
    assert [fixed["ip_address"] for fixed in port["fixed_ips"]] == ["10.1.0.5"]


def test_what_is_left_out_is_told():
    result = copy([WEB], ISOLATED, made=topology())
    assert "no way to network public" in told(result, "router_metadata.edge.external_gateway_info")
    assert "203.0.113.0/24" in told(result, "router_metadata.edge.routes")
    assert "network office is not built" in told(result, "networks")
    assert "network office is not built" in told(result, "port_metadata.spare-foreign.network_id")
    assert "theirs is not built" in told(result, "port_metadata.spare.security_groups")
    rules = [each.text for each in result.findings if "web-group.security_group_rules" in each.field]
    assert any("theirs is not built" in each for each in rules)
    assert "198.51.100.7 is left out: an isolated copy has none" in told(result, "floating_ips")
    assert properties(result, "web")["networks"] == [{"port": {"get_resource": "port_web-port"}}]
    assert properties(result, "spare")["security_groups"] == [{"get_resource": "security_group_web-group"}]


@pytest.mark.parametrize(
    ("network", "field", "words"),
    [
        ({"networks": "existing"}, "networks", "leave networks=existing out"),
        ({"floating_ips": "new"}, "floating_ips", "leave floating_ips=new out"),
        ({"floating_ips": "existing"}, "floating_ips", "leave floating_ips=existing out"),
        ({"public_network_id": "public"}, "public_network_id", "no way out"),
    ],
)
def test_what_would_lead_out_is_a_problem(network, field, words):
    result = copy([WEB], ISOLATED | network, made=topology())
    assert words in " ".join(each.text for each in result.problems if each.field == field)


@pytest.mark.parametrize("network", [{"networks": "new"}, {"floating_ips": "skip"}])
def test_what_is_so_anyway_may_be_said(network):
    assert copy([WEB], ISOLATED | network, made=topology()).problems == []


def test_a_part_needs_no_choice_of_networks():
    plugins = [NetworkPlugin(), ServerPlugin(), ImagePlugin()]
    made = topology()
    parameters = {nodes.NETWORK: ISOLATED}
    edges = {WEB.key: [IMAGE.key]}
    result = render(FakeSelection(plugins, [IMAGE, made, WEB], edges, parameters, chosen=[IMAGE.key, WEB.key]))
    assert result.problems == []
    assert "db" not in result.fragments


def test_a_server_with_no_interface_but_on_the_living_network_is_a_problem():
    alone = server("alone", ["office"])
    result = copy([alone, WEB], ISOLATED, made=topology())
    (problem,) = result.problems
    assert (problem.id, problem.field) == ("alone", "networks")
    assert "leave the server out" in problem.text


def test_so_it_is_where_the_checkpoint_has_no_network_at_all():
    result = copy([server("alone", ["office"])], of_server=ISOLATED)
    assert [each.field for each in result.problems] == ["networks"]


def test_a_server_without_any_interface_may_be_copied():
    assert copy([server("alone")], of_server=ISOLATED).problems == []


def test_a_network_of_the_target_is_a_problem():
    result = copy([WEB], ISOLATED, {"restore_net_id": "office"}, made=topology())
    assert [each.field for each in result.problems] == ["restore_net_id"]


def test_a_server_alone_is_not_isolated_where_its_network_is_not():
    result = copy([WEB], {}, ISOLATED, made=topology())
    assert "set isolated for OS::Neutron::Network, too" in told(result, "isolated")


def test_groups_of_the_target_are_not_used_by_name():
    bare = server("bare", ["app"], security_groups=[{"name": "web"}, {"name": "theirs"}])
    result = copy([bare], ISOLATED, made=topology())
    assert properties(result, "bare")["security_groups"] == [{"get_resource": "security_group_web-group"}]
    assert "isolated copy does without it" in told(result, "security_groups")
