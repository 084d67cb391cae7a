from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_worker.errors import CloudError
from restore_worker.template import HeatTemplate
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeReport, FakeSelection, FakeTarget, Rendering, render
from tests.support.judge import judge
from tests.support.stub_cloud import StubCloud, stub_cloud

OLD = "203.0.113.5"
IMAGE = nodes.image("image-1")
INTERFACES = {net: {"get_resource": f"router_interface_interface_router-1_subnet-{net}"} for net in ("a", "b")}


def network(ports: Sequence[dict[str, Any]]) -> Node:
    """Return two networks behind one router with a way out, and one (net-c) without."""
    letters = {"a": 1, "b": 2, "c": 3}
    router_ports = [
        nodes.port(
            f"port-router-{net}",
            f"net-{net}",
            {f"subnet-{net}": f"10.0.{number}.1"},
            device_id="router-1",
            device_owner="network:router_interface",
        )
        for net, number in letters.items()
        if net != "c"
    ]
    return nodes.network(
        "project-1",
        networks=[nodes.net(f"net-{net}") for net in letters],
        subnets=[
            nodes.subnet(f"subnet-{net}", f"net-{net}", f"10.0.{number}.0/24", f"10.0.{number}.1")
            for net, number in letters.items()
        ],
        routers=[nodes.router("router-1", "edge", "external-1")],
        ports=[*router_ports, *ports],
    )


def port(net: str, *addresses: str) -> dict[str, Any]:
    """Return the server's port on a network."""
    found = nodes.port(f"port-{net}", f"net-{net}", {}, device_id="server-1", device_owner="compute:nova")
    fixed = [{"subnet_id": f"subnet-{net}", "ip_address": address} for address in addresses]
    return found | {"fixed_ips": fixed, "mac_address": f"fa:16:3e:00:00:0{net}"}


ONE = [port("a", "10.0.1.11"), port("c", "10.0.3.11")]
TWO = [port("a", "10.0.1.11"), port("b", "10.0.2.11")]


def selected(
    ports: Sequence[dict[str, Any]], addresses: Sequence[str] = (OLD,), named: str | None = None, **params: str
) -> FakeSelection:
    server = nodes.server("server-1", "web-1", boot="image-1", floating_ips=list(addresses))
    return FakeSelection(
        [ServerPlugin(), ImagePlugin(), NetworkPlugin()],
        [IMAGE, network(ports), server],
        {server.key: [IMAGE.key]},
        {nodes.NETWORK: params, nodes.SERVER: {"floating_ip_ports": named} if named else {}},
    )


def told(result: Rendering) -> str:
    both = (*result.findings, *result.problems)
    return " | ".join(each.text for each in both if each.field == "floating_ips")


def leads_to(result: Rendering) -> dict[str, str]:
    """Return the port by the old address, once Heat has accepted the template."""
    assert result.problems == []
    judge(result.hot.text)
    return {
        key.partition(":")[2]: fragment.properties["port_id"]["get_resource"].removeprefix("port_")
        for key, fragment in result.fragments.items()
        if "port_id" in getattr(fragment, "properties", {})
    }


def test_a_new_address_comes_from_the_public_network():
    result = render(selected(ONE, public_network_id="public-1"))
    assert leads_to(result) == {OLD: "port-a"}
    floating = result.fragments[f"floatingip:{OLD}"]
    assert floating.type == "OS::Neutron::FloatingIP"
    assert floating.properties == {
        "floating_network": "public-1",
        "port_id": {"get_resource": "port_port-a"},
    }
    # Neutron refuses it before the network has a way out.
    assert floating.depends_on == (INTERFACES["a"],)
    assert f"{OLD}: a new address" in told(result)


def test_the_old_address_is_associated_again():
    result = render(selected(ONE, floating_ips="existing"))
    assert leads_to(result) == {OLD: "port-a"}
    parameter = result.fragments[f"floatingip:{OLD}"]
    assert (parameter.value, OLD in parameter.description) == (None, True)
    association = result.fragments[f"association:{OLD}"]
    assert association.type == "OS::Neutron::FloatingIPAssociation"
    assert association.depends_on == (INTERFACES["a"],)
    assert told(result) == ""


def test_existing_means_the_old_one_even_with_a_public_network():
    result = render(selected(ONE, floating_ips="existing", public_network_id="public-1"))
    assert f"association:{OLD}" in result.fragments


def test_nobody_waits_for_interfaces_that_are_there():
    result = render(selected(ONE, networks="existing", public_network_id="public-1"))
    assert leads_to(result) == {OLD: "port-a"}
    assert result.fragments[f"floatingip:{OLD}"].depends_on == ()


@pytest.mark.parametrize("parameters", [{}, {"floating_ips": "skip", "public_network_id": "public-1"}])
def test_what_is_left_out_is_told_and_nothing_is_asked(parameters):
    result = render(selected(TWO, **parameters))
    assert leads_to(result) == {}
    assert told(result).startswith(f"{OLD} is left out: ")


def test_without_any_choice_the_parameters_are_named():
    text = told(render(selected(ONE)))
    assert "public_network_id" in text
    assert "floating_ips=existing" in text


def test_new_needs_a_public_network():
    result = render(selected(ONE, floating_ips="new"))
    assert [problem.field for problem in result.problems] == ["floating_ips"]
    assert "public_network_id" in told(result)


def test_a_server_without_a_way_out_gets_none():
    result = render(selected([port("c", "10.0.3.11")], public_network_id="public-1"))
    assert leads_to(result) == {}
    assert "external network" in told(result)


@pytest.mark.parametrize("parameters", [{"public_network_id": "public-1"}, {"floating_ips": "existing"}])
def test_two_candidates_are_a_problem_not_a_guess(parameters):
    result = render(selected(TWO, **parameters))
    (problem,) = result.problems
    for part in (OLD, "port-a (10.0.1.11)", "port-b (10.0.2.11)", "floating_ip_ports", "floating_ips=skip"):
        assert part in problem.text


@pytest.mark.parametrize("named", ["port-b", "10.0.2.11"])
def test_the_user_names_the_port_or_its_address(named):
    assert leads_to(render(selected(TWO, named=named, public_network_id="public-1"))) == {OLD: "port-b"}


@pytest.mark.parametrize("named", ["port-c", "port-a,port-b", ",", "port-z"])
def test_a_name_that_does_not_fit_is_a_problem(named):
    assert render(selected(TWO, named=named, public_network_id="public-1")).problems


def test_several_new_addresses_are_alike():
    addresses = [OLD, "203.0.113.6"]
    result = render(selected(TWO, addresses, public_network_id="public-1"))
    assert leads_to(result) == {OLD: "port-a", "203.0.113.6": "port-b"}


def test_several_old_addresses_are_not():
    addresses = [OLD, "203.0.113.6"]
    assert render(selected(TWO, addresses, floating_ips="existing")).problems
    result = render(selected(TWO, addresses, "port-b, port-a", floating_ips="existing"))
    assert leads_to(result) == {OLD: "port-b", "203.0.113.6": "port-a"}
    # One address of a port can bear one floating IP.
    assert render(selected(TWO, addresses, "port-a, port-a", floating_ips="existing")).problems


def test_a_port_with_several_addresses_needs_the_right_one():
    ports = [port("a", "10.0.1.11", "10.0.1.12")]
    assert render(selected(ports, public_network_id="public-1")).problems
    result = render(selected(ports, named="10.0.1.12", public_network_id="public-1"))
    assert leads_to(result) == {OLD: "port-a"}
    assert result.fragments[f"floatingip:{OLD}"].properties["fixed_ip_address"] == "10.0.1.12"


def test_in_a_cloud_the_old_address_is_looked_up():
    selection = selected(ONE, floating_ips="existing")
    server = next(key for key in selection.nodes if key.type == nodes.SERVER)
    work, _ = selection.prepare(server)
    known = render(selection).fragments
    with stub_cloud() as cloud:
        context = FakeContext(cloud=cloud.connect())
        with pytest.raises(CloudError, match=OLD):
            ServerPlugin().restore(selection.resource(server), work, _template(known), context)
        cloud.floating_ips["fip-1"] = address(port_id="port-9")
        with pytest.raises(CloudError, match="port-9"):
            ServerPlugin().restore(selection.resource(server), work, _template(known), context)
        cloud.floating_ips["fip-1"] = address()
        template = _template(known)
        ServerPlugin().restore(selection.resource(server), work, template, context)
    assert template.get_physical_id(f"floatingip:{OLD}") == "fip-1"


def address(**fields: Any) -> dict[str, Any]:
    """Return the old address as the target has it."""
    return {"id": "fip-1", "floating_ip_address": OLD, "port_id": None, "fixed_ip_address": None, **fields}


def problems(cloud: StubCloud, selection: FakeSelection) -> list[str]:
    """Return what the check of the server tells against its floating IPs."""
    server = next(key for key in selection.nodes if key.type == nodes.SERVER)
    work, _ = selection.prepare(server)
    report = FakeReport(server.id)
    ServerPlugin().check(selection.resource(server), work, FakeTarget(cloud.connect()), report)
    return [each.text for each in report.problems if each.field in ("floating_ips", "public_network_id")]


def test_the_old_address_must_be_there_and_lead_nowhere():
    selection = selected(ONE, floating_ips="existing")
    with stub_cloud() as cloud:
        (missing,) = problems(cloud, selection)
        cloud.floating_ips["fip-1"] = address(port_id="port-9", fixed_ip_address="10.9.9.9")
        (used,) = problems(cloud, selection)
        cloud.floating_ips["fip-1"] = address()
        assert problems(cloud, selection) == []
    assert f"no floating IP {OLD}" in missing
    for part in (
        "10.9.9.9 on port port-9",
        f"openstack floating ip unset --port {OLD}",
        "floating_ips=new or skip",
    ):
        assert part in used


def test_a_new_address_needs_an_external_network():
    selection = selected(ONE, public_network_id="public-1")
    with stub_cloud() as cloud:
        cloud.networks["ext-1"] = {"id": "ext-1", "name": "internet", "router:external": True}
        (missing,) = problems(cloud, selection)
        cloud.networks["public-1"] = {"id": "public-1", "name": "x", "router:external": False}
        (internal,) = problems(cloud, selection)
        cloud.networks["public-1"]["router:external"] = True
        assert problems(cloud, selection) == []
    for text in (missing, internal):
        assert "public-1" in text
        assert "set public_network_id of OS::Neutron::Network to ext-1 (internet)" in text
    assert "not external" in internal


def _template(known: dict[str, Any]) -> HeatTemplate:
    """Return a template in which all is restored that the server depends on."""
    others = {key: fragment for key, fragment in known.items() if key.startswith(("port", "image", "interface"))}
    return HeatTemplate(others.get)
