"""What is too large for one stack becomes several: as few as will do, each whole, and together what the one would be."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Mapping, Sequence
from math import ceil
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from restore_worker.cut import Limits, cut, waits
from restore_worker.hot import Hot, assemble
from restore_worker.template import Fragment, HeatParameter, HeatResource, HeatTemplate
from tests.support.fragments import template_of
from tests.support.judge import judge
from tests.support.walks import graphs

LIMITS = st.builds(Limits, st.integers(1, 40), st.integers(50, 2000))


def project(servers: int, networks: int = 3) -> dict[str, Fragment]:
    """Return what a tenant has: networks with a router, groups, an image, and servers with what is theirs alone."""
    template = HeatTemplate()
    ref = template.get_resource_reference
    template.put_parameter("image", HeatParameter("image-1", "OS::Glance::Image", title="ubuntu"))
    template.put_parameter("spare", HeatParameter("image-2", "OS::Glance::Image", title="nobody's"))
    template.put_resource("group", HeatResource("OS::Neutron::SecurityGroup", {"name": "web"}))
    template.put_resource("router", HeatResource("OS::Neutron::Router", {"name": "out"}))
    for number in range(networks):
        template.put_resource(f"net{number}", HeatResource("OS::Neutron::Net", {"name": f"net{number}"}))
        net = ref(f"net{number}")
        for half in "ab":
            subnet = {"network": net, "cidr": f"10.{number}.{int(half, 16)}.0/24"}
            template.put_resource(f"subnet{number}{half}", HeatResource("OS::Neutron::Subnet", subnet))
        way = {"router": ref("router"), "subnet": ref(f"subnet{number}a")}
        template.put_resource(f"way{number}", HeatResource("OS::Neutron::RouterInterface", way, output=False))
    for number in range(servers):
        network = number % networks
        # It is in all subnets, though it names none.
        port = {"network": ref(f"net{network}"), "security_groups": [ref("group")]}
        template.put_resource(f"port{number}", HeatResource("OS::Neutron::Port", port))
        server = {"flavor": "m1", "image": ref("image"), "networks": [{"port": ref(f"port{number}")}]}
        template.put_resource(
            f"server{number}",
            HeatResource("OS::Nova::Server", server, [ref(f"way{network}")], f"web-{number}", tells=("networks",)),
        )
        template.put_resource(f"data{number}", HeatResource("OS::Cinder::Volume", {"size": 1}))
        ends = {"instance_uuid": ref(f"server{number}"), "volume_id": ref(f"data{number}")}
        template.put_resource(
            f"attachment{number}", HeatResource("OS::Cinder::VolumeAttachment", ends, output=False)
        )
    return template.fragments


def read(hot: Hot) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(hot.text, Loader=yaml.CSafeLoader)
    return document


def resources_of(hot: Hot) -> dict[str, Any]:
    found: dict[str, Any] = read(hot)["resources"]
    return found


def joined(hots: Sequence[Hot]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return resources and outputs as of one template, after a look at whether the parts fit together."""
    outputs: dict[int, dict[str, Any]] = {}
    resources: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for place, hot in enumerate(hots, 1):
        assert hot.number == place
        assert all(other < place for other in hot.waits_for)
        document = read(hot)
        outputs[place] = document["outputs"]
        parameters = document.get("parameters", {})
        assert set(parameters) == {*hot.values, *hot.open_parameters, *hot.borrowed}
        names = {}
        for name, (number, output) in hot.borrowed.items():
            assert number in hot.waits_for
            names[name] = outputs[number][output]["value"]["get_resource"]
        assert not resources.keys() & document["resources"].keys()
        resources |= with_references(document["resources"], names)
        told |= {name: each["value"] for name, each in document["outputs"].items()}
    return resources, told


def with_references(value: Any, names: Mapping[str, str]) -> Any:
    """Put resources in the place of the parameters that stand for them."""
    if isinstance(value, dict):
        if value.keys() == {"get_param"} and value["get_param"] in names:
            return {"get_resource": names[value["get_param"]]}
        return {key: with_references(each, names) for key, each in value.items()}
    return [with_references(each, names) for each in value] if isinstance(value, list) else value


def without_waits(resources: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {key: each[key] for key in ("type", "properties")} for name, each in resources.items()}


def check_parts(
    needs: Mapping[str, Collection[str]],
    sizes: Mapping[str, int],
    limits: Limits,
    parts: Sequence[Collection[str]],
) -> None:
    assert sorted(itertools.chain(*parts)) == sorted(needs)
    for part in parts:
        assert len(part) == 1 or limits.holds(len(part), sum(sizes[name] for name in part))
    for number, others in enumerate(waits(needs, parts)):
        assert all(other < number for other in others)


@settings(max_examples=300)
@given(children=graphs(most=150), limits=LIMITS, seed=st.integers(0, 2**32))
def test_any_graph_is_cut_within_the_limits_and_needs_nothing_of_what_comes_later(children, limits, seed) -> None:
    chosen = random.Random(seed)
    needs = {str(index): [str(child) for child in each] for index, each in enumerate(children)}
    sizes = {name: chosen.randrange(1, 60) for name in needs}
    parts = cut(needs, sizes, limits)
    check_parts(needs, sizes, limits, parts)
    # The same whatever order the fragments come in.
    shuffled = chosen.sample(list(needs), len(needs))
    assert cut({name: needs[name] for name in shuffled}, sizes, limits) == parts


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(servers=st.integers(1, 40), networks=st.integers(1, 4), most=st.integers(20, 60))
def test_a_tenant_is_cut_into_as_few_stacks_as_will_do(servers, networks, most) -> None:
    fragments = project(servers, networks)
    (sole,) = assemble(fragments, "d")
    hots = assemble(fragments, "d", Limits(most, 10**6))
    if sole.resources <= most:
        assert hots == (sole,)
        return
    assert [hot.resources <= most for hot in hots] == [True] * len(hots)
    # A server with what is its own has four resources, of which some room may be left over in each stack.
    assert len(hots) <= ceil(sole.resources / (most - 3))
    stacks = [resources_of(hot).keys() for hot in hots]
    for number in range(servers):
        own = {f"port_port{number}", f"server_server{number}", f"volume_data{number}"}
        assert any(own <= each for each in stacks)
    # All that wait, wait for what is shared alone.
    assert all(hot.waits_for in ((), (1,)) for hot in hots)


@pytest.mark.parametrize("limits", [Limits(60, 10**6), Limits(1000, 12_000)], ids=["count", "bytes"])
def test_together_they_are_what_one_would_be_and_heat_takes_each(limits: Limits) -> None:
    fragments = project(servers=35)
    (sole,) = assemble(fragments, "a tenant")
    hots = assemble(fragments, "a tenant", limits)
    assert len(hots) > 2
    assert all(limits.holds(hot.resources, hot.size) for hot in hots)
    assert sum(hot.resources for hot in hots) == sole.resources
    resources, told = joined(hots)
    assert without_waits(resources) == without_waits(resources_of(sole))
    whole = {name: each["value"] for name, each in read(sole)["outputs"].items()}
    # What only others take over is told, too.
    assert {name: told[name] for name in whole} == whole
    for hot in hots:
        assert set(judge(hot.text)) == resources_of(hot).keys()
    assert {name: value for hot in hots for name, value in hot.values.items()} == sole.values


def test_who_is_in_a_network_comes_after_its_subnets_though_it_names_none() -> None:
    hots = assemble(project(servers=35), "d", Limits(30, 10**6))
    number_of = {name: hot.number for hot in hots for name in resources_of(hot)}
    by_number = {hot.number: hot for hot in hots}
    for server in range(35):
        for half in "ab":
            subnet, port = number_of[f"subnet_subnet{server % 3}{half}"], number_of[f"port_port{server}"]
            assert subnet == port or subnet in by_number[port].waits_for


def test_a_wait_alone_puts_a_stack_after_another_and_takes_nothing_over() -> None:
    first = HeatResource("OS::Heat::None", {}, output=False)
    template = HeatTemplate()
    template.put_resource("first", first)
    template.put_resource("then", HeatResource("OS::Heat::None", {}, [template.get_resource_reference("first")]))
    one, two = assemble(template.fragments, "d", Limits(1, 10**6))
    assert (one.waits_for, two.waits_for) == ((), (1,))
    assert (two.borrowed, read(two)["resources"]["none_then"].keys()) == (
        {},
        {"type", "properties"},
    )


def test_the_same_fragments_are_cut_in_the_same_way() -> None:
    fragments = project(servers=35)
    backwards = dict(reversed(fragments.items()))
    limits = Limits(40, 10**6)
    assert assemble(fragments, "d", limits) == assemble(backwards, "d", limits)


def test_what_one_stack_takes_is_not_cut() -> None:
    fragments = project(servers=2)
    (sole,) = assemble(fragments, "d")
    assert assemble(fragments, "d", Limits(sole.resources, sole.size)) == (sole,)
    assert len(assemble(fragments, "d", Limits(sole.resources - 1, sole.size))) == 2


def test_an_application_of_ten_thousand_is_cut_in_moments() -> None:
    needs: dict[str, list[str]] = {f"net{number}": [] for number in range(20)}
    for number in range(2500):
        needs[f"port{number}"] = [f"net{number % 20}"]
        needs[f"volume{number}"] = []
        needs[f"server{number}"] = [f"port{number}"]
        needs[f"attachment{number}"] = [f"server{number}", f"volume{number}"]
    sizes = dict.fromkeys(needs, 300)
    parts = cut(needs, sizes, Limits())
    check_parts(needs, sizes, Limits(), parts)
    assert len(parts) == ceil(len(needs) / 1000)


def test_a_resource_that_no_stack_would_take_is_a_part_of_its_own() -> None:
    script = HeatResource("OS::Heat::SoftwareConfig", {"config": "x" * 5000})
    fragments = template_of({"large": script, "small": HeatResource("OS::Heat::None", {})}).fragments
    hots = assemble(fragments, "d", Limits(10, 2000))
    assert sorted(list(resources_of(hot)) for hot in hots) == [["none_small"], ["software_config_large"]]
