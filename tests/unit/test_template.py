"""Fragments and the template they become: references, names, parameters, outputs; and Heat takes it."""

import itertools

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restore_worker.errors import TemplateError
from restore_worker.hot import assemble
from restore_worker.template import (
    HeatParameter,
    HeatResource,
    HeatTemplate,
    Reference,
    dump_fragment,
    fragment_name,
    load_fragment,
)
from tests.support.fragments import DATA, TEXTS, hot_of, is_function_call, template_of, volume
from tests.support.judge import judge


@given(
    st.dictionaries(st.uuids().map(str), st.dictionaries(TEXTS, DATA, max_size=4), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_in_which_things_are_put_leaves_no_trace(metadata, random):
    def shuffled(data):
        if isinstance(data, dict):
            return {key: shuffled(data[key]) for key in random.sample(list(data), len(data))}
        return [shuffled(item) for item in data] if isinstance(data, list) else data

    fragments = {key: volume(metadata=data) for key, data in metadata.items() if not is_function_call(data)}
    fragments |= {f"p-{key}": HeatParameter(key, "OS::Glance::Image") for key in metadata}
    fragments["last"] = volume()
    again = {
        key: HeatResource(each.type, shuffled(each.properties)) if isinstance(each, HeatResource) else each
        for key, each in shuffled(fragments).items()
    }
    one, other = hot_of(fragments), hot_of(again)
    assert (one.text, one.environment, one.open_parameters) == (
        other.text,
        other.environment,
        other.open_parameters,
    )


FRAGMENTS = st.builds(
    lambda data, title, depends_on, output: template_of(
        {"x": HeatResource("OS::Nova::Server", data, depends_on, title, output)}
    ).fragments["x"],
    st.dictionaries(TEXTS, DATA, max_size=4)
    .filter(lambda data: not is_function_call(data))
    .map(
        lambda data: (
            data | {"image": Reference(get_param="p_image_i"), "of": [{"port": Reference(get_resource="r")}]}
        )
    ),
    TEXTS,
    st.lists(st.builds(Reference, st.fixed_dictionaries({"get_resource": TEXTS}))),
    st.booleans(),
) | st.builds(HeatParameter, st.none() | TEXTS, st.just("OS::Glance::Image"), TEXTS, TEXTS, TEXTS, st.booleans())


@given(FRAGMENTS)
def test_a_fragment_survives_its_dump(fragment):
    text = dump_fragment(fragment)
    again = load_fragment(text)
    assert again == fragment
    assert load_fragment(text.encode()) == fragment
    assert dump_fragment(again) == text


def test_references_in_a_loaded_fragment_still_refer():
    template = template_of({"i": HeatParameter("new-id", "OS::Glance::Image"), "v": volume()})
    image, disk = (template.get_resource_reference(each) for each in "iv")
    server = HeatResource("OS::Nova::Server", {"flavor": "2", "image": image}, [disk, image])
    template.put_resource("s", server)
    loaded = {key: load_fragment(dump_fragment(each)) for key, each in template.fragments.items()}
    (hot,) = assemble(loaded, "d")
    assert (hot,) == assemble(template.fragments, "d")
    assert judge(hot.text) == ["volume_v", "server_s"]


def test_a_parent_refers_to_what_others_put_without_knowing_what_it_is():
    children = {"v": volume(), "i": HeatParameter("new-id", "OS::Glance::Image")}
    template = HeatTemplate(children.get)
    assert template.get_resource_reference("v") == {"get_resource": "volume_v"}
    assert template.get_resource_reference("i") == {"get_param": "p_image_i"}
    assert template.get_physical_id("i") == "new-id"
    assert template.has("v")
    assert not template.has("x")
    assert template.fragments == {}


def test_a_reference_to_nothing_is_refused_when_it_is_asked_for():
    with pytest.raises(TemplateError, match="nothing was restored for lost"):
        HeatTemplate().get_resource_reference("lost")


@pytest.mark.parametrize("fragment", [volume(), HeatParameter(None, "OS::Cinder::Volume")])
def test_what_is_not_built_yet_has_no_id(fragment):
    with pytest.raises(TemplateError, match="OS::Cinder::Volume v has no id on the target yet"):
        template_of({"v": fragment}).get_physical_id("v")


def test_the_same_may_be_put_twice_and_another_may_not():
    template = template_of({"v": volume(metadata={"a": "b", "n": None})})
    template.put_resource("v", volume(metadata={"a": "b"}))
    with pytest.raises(TemplateError, match="v was put twice"):
        template.put_resource("v", volume(metadata={"a": "c"}))
    with pytest.raises(TemplateError, match="v was put twice"):
        template.put_parameter("v", HeatParameter("x", "OS::Cinder::Volume"))


def test_two_of_one_name_are_refused_with_both_ids():
    with pytest.raises(TemplateError, match=r"a@b and a_b would both be named volume_a_b"):
        hot_of({"a@b": volume(), "a_b": volume()})


TYPES = st.sampled_from(
    ["OS::Nova::Server", "OS::Cinder::Volume", "OS::Neutron::Port", "OS::Neutron::FloatingIP", "Vendor::X::P"]
)
IDS = st.uuids().map(str) | st.from_regex(r"(p_|volume_|server_)*[a-c]?", fullmatch=True)


@given(st.dictionaries(IDS, st.tuples(TYPES, st.booleans()), min_size=1, max_size=8))
@example({"volume_a": ("Vendor::X::P", False), "a": ("OS::Cinder::Volume", True)})
def test_no_two_things_of_a_template_share_a_name(kinds):
    fragments = {
        key: HeatParameter(None, kind) if built else HeatResource(kind, {}) for key, (kind, built) in kinds.items()
    }
    names = [fragment_name(key, fragment) for key, fragment in fragments.items()]
    if len(set(names)) < len(names):
        with pytest.raises(TemplateError, match="would both be named"):
            hot_of(fragments)
        return
    hot = hot_of(fragments)
    loaded = yaml.safe_load(hot.text) if hot else {"parameters": dict.fromkeys(names)}
    assert sorted([*loaded.get("parameters", {}), *loaded.get("resources", {})]) == sorted(names)


@pytest.mark.parametrize(
    ("original_id", "fragment", "name"),
    [
        ("1a-b", HeatResource("OS::Nova::Server", {}), "server_1a-b"),
        ("1", HeatResource("OS::Neutron::FloatingIP", {}), "floating_ip_1"),
        ("1", HeatResource("OS::Neutron::SecurityGroupRule", {}), "security_group_rule_1"),
        ("floatingip:1.2.3.4", HeatParameter(None, "OS::Neutron::FloatingIP"), "p_floating_ip_floatingip_1.2.3.4"),
        ("a/b é", HeatResource("OS::Neutron::Net", {}), "net_a_b__"),
    ],
)
def test_a_name_is_made_of_type_and_original_id(original_id, fragment, name):
    assert fragment_name(original_id, fragment) == name


@pytest.mark.parametrize(
    "properties",
    [
        {"source_volid": Reference(get_resource="volume_lost")},
        {"image": Reference(get_param="volume_lost")},
        {"metadata": {"a": [{"b": Reference(get_resource="volume_lost")}]}},
        # A parameter is not a resource, nor the other way round.
        {"source_volid": Reference(get_resource="p_image_i")},
        {"image": Reference(get_param="volume_v")},
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(properties):
    fragments = {"v": volume(), "i": HeatParameter(None, "OS::Glance::Image"), "w": volume(**properties)}
    with pytest.raises(TemplateError, match=r"volume_w refers to (volume_lost|p_image_i|volume_v), which nobody"):
        hot_of(fragments)


def test_waiting_for_what_nobody_restored_is_refused():
    resource = HeatResource("OS::Cinder::Volume", {}, [Reference(get_resource="volume_lost")])
    with pytest.raises(TemplateError, match="volume_v refers to volume_lost, which nobody restored"):
        hot_of({"v": resource})


@pytest.mark.parametrize(
    "metadata", [{"depends_on": ["x"]}, {"a": {"depends_on": ["x"], "b": "c"}}, {"get_resource": "x", "a": "b"}]
)
def test_data_that_only_looks_like_a_reference_is_data(metadata):
    loaded = yaml.safe_load(hot_of({"v": volume(metadata=metadata)}).text)
    assert loaded["resources"]["volume_v"]["properties"]["metadata"] == metadata


def test_only_resources_are_waited_for_each_once():
    waits = [Reference(get_resource=f"volume_{each}") for each in "cab"] + [Reference(get_param="p_image_i")]
    fragments = {each: volume() for each in "abc"} | {"i": HeatParameter(None, "OS::Glance::Image")}
    hot = hot_of(fragments | {"v": HeatResource("OS::Cinder::Volume", {"size": 1}, waits * 2)})
    entry = yaml.safe_load(hot.text)["resources"]["volume_v"]
    assert entry["depends_on"] == ["volume_a", "volume_b", "volume_c"]
    assert judge(hot.text)[-1] == "volume_v"


def test_values_stand_beside_the_template():
    known, unknown = (
        HeatParameter("yes", "OS::Glance::Image", "glance.image"),
        HeatParameter(None, "OS::Nova::Server"),
    )
    hot = hot_of({"i": known, "s": unknown, "v": volume()})
    rendering = hot_of({"i": HeatParameter(None, known.type, known.constraint), "s": unknown, "v": volume()})
    assert hot.text == rendering.text
    assert yaml.safe_load(hot.environment) == {"parameters": {"p_image_i": "yes"}}
    assert (hot.values, list(hot.open_parameters)) == ({"p_image_i": "yes"}, ["p_server_s"])
    assert (rendering.values, list(rendering.open_parameters)) == ({}, ["p_image_i", "p_server_s"])
    assert yaml.safe_load(rendering.environment) == {"parameters": {}}
    assert judge(hot.text, hot.values) == judge(rendering.text) == ["volume_v"]


def test_a_parameter_says_what_belongs_in_it():
    parameter = HeatParameter(None, "OS::Glance::Image", "glance.image", "Id of the uploaded image")
    entry = yaml.safe_load(hot_of({"i": parameter, "v": volume()}).text)["parameters"]["p_image_i"]
    assert entry == {
        "type": "string",
        "description": "Id of the uploaded image",
        "constraints": [{"custom_constraint": "glance.image"}],
    }


def test_outputs_lead_from_every_original_id_to_the_new_one():
    hot = hot_of(
        {
            "s": HeatResource("OS::Nova::Server", {"flavor": "2", "image": "i"}, title="web-1"),
            "i": HeatParameter("new", "OS::Glance::Image"),
            "link": HeatResource("OS::Cinder::Volume", {"size": 1}, output=False),
        }
    )
    assert yaml.safe_load(hot.text)["outputs"] == {
        "i": {"description": "New id of OS::Glance::Image", "value": {"get_param": "p_image_i"}},
        "s": {"description": "New id of OS::Nova::Server web-1", "value": {"get_resource": "server_s"}},
    }
    assert set(judge(hot.text)) == {"server_s", "volume_link"}


@pytest.mark.parametrize("fragments", [{}, {"i": HeatParameter("new", "OS::Glance::Image")}])
def test_nothing_for_heat_to_build_is_no_template(fragments):
    assert hot_of(fragments) is None


@settings(max_examples=25)
@given(st.lists(st.integers(0, 20), max_size=20))
def test_heat_creates_what_is_referred_to_first(parents):
    template = HeatTemplate()
    template.put_resource("0", volume())
    for number, parent in enumerate(parents, start=1):
        reference = template.get_resource_reference(str(parent % number))
        template.put_resource(str(number), HeatResource("OS::Cinder::Volume", {"source_volid": reference}))
    order = judge(assemble(template.fragments, "d")[0].text)
    assert len(order) == len(parents) + 1
    for number, parent in enumerate(parents, start=1):
        assert order.index(f"volume_{parent % number}") < order.index(f"volume_{number}")


def test_every_kind_of_fragment_together_is_taken_by_heat():
    template = HeatTemplate()
    ref = template.get_resource_reference
    template.put_parameter("i", HeatParameter(None, "OS::Glance::Image", "glance.image", "image", "ubuntu"))
    template.put_resource("n", HeatResource("OS::Neutron::Net", {"name": "012", "mtu": None}))
    template.put_resource("sn", HeatResource("OS::Neutron::Subnet", {"network": ref("n"), "cidr": "10.0.0.0/24"}))
    fixed_ips = [{"subnet": ref("sn"), "ip_address": "10.0.0.7"}]
    template.put_resource("p", HeatResource("OS::Neutron::Port", {"network": ref("n"), "fixed_ips": fixed_ips}))
    server = {"flavor": "1e3", "image": ref("i"), "networks": [{"port": ref("p")}], "user_data_format": "RAW"}
    template.put_resource("s", HeatResource("OS::Nova::Server", server, title="yes"))
    template.put_resource("v", volume())
    attachment = {"instance_uuid": ref("s"), "volume_id": ref("v")}
    template.put_resource("a", HeatResource("OS::Cinder::VolumeAttachment", attachment, output=False))
    order = judge(assemble(template.fragments, "all")[0].text)
    chains = [
        ["net_n", "subnet_sn", "port_p", "server_s", "volume_attachment_a"],
        ["volume_v", "volume_attachment_a"],
    ]
    for first, second in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
        assert order.index(first) < order.index(second)
