"""Fragments and the HOT they become: what goes in as text comes out as that text, and Heat takes it."""

import datetime as dt
import enum
import itertools
import re

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restore_worker.errors import TemplateError
from restore_worker.template import (
    HOT_VERSION,
    HeatParameter,
    HeatResource,
    HeatTemplate,
    Reference,
    assemble,
    dump_fragment,
    fragment_name,
    load_fragment,
)
from tests.support import judge as heat
from tests.support.judge import judge

WORDS = """
y Y yes Yes YES n N no on ON off true TRUE false null Null NULL none None inf nan
~ = << 1 -1 +1 0 012 0o14 0x1F 0b11 1_000 1e3 1.5 1. .5 -.5e-3 .inf -.INF .nan NaN 1:30 190:20:30
2016-10-14 2020-03-05T02:00:07Z 0.9 get_resource {} [] [a] *a &a !a !!str | > % @ ` -- --- ... ' " \\ \\n
- ? : a: # _ a- a.b/c OS::Nova::Server \x00 \x07 \x1b[0m \x7f \x80 \ufeff \ufeffa \ufffe \uffff \U0001f600 \U0010ffff é 日本
"""
TRICKY = [
    *WORDS.split(),
    *("", " ", " a", "a ", "a: b", "a #b", "# a", "- a", "? a", ": a", "{a: b}", "2020-03-05 02:00:07 +1"),
    *("\n", "a\n", "\na", "a\n\nb", "\t", "a\tb", "\r", "\r\n", "\x85", "\xa0", "\u2028", "\u2029"),
    *("a" * 300, "a b " * 100, "a  b" * 60, "x" * 109 + " y", "é " * 200),
]
TEXTS = st.sampled_from(TRICKY) | st.text()
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


def volume(**properties):
    return HeatResource("OS::Cinder::Volume", {"size": 1, **properties})


def template_of(fragments, find=lambda _: None):
    template = HeatTemplate(find)
    for original_id, fragment in fragments.items():
        if isinstance(fragment, HeatParameter):
            template.put_parameter(original_id, fragment)
        else:
            template.put_resource(original_id, fragment)
    return template


def hot_of(fragments, description="d"):
    return assemble(template_of(fragments).fragments, description)


def without_nulls(data):
    if isinstance(data, dict):
        return {key: without_nulls(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [without_nulls(value) for value in data if value is not None]
    return data


def is_function_call(data):
    if isinstance(data, dict):
        plain = without_nulls(data)
        return (len(plain) == 1 and next(iter(plain)) in heat.function_names()) or any(
            map(is_function_call, data.values())
        )
    return isinstance(data, list) and any(map(is_function_call, data))


# What a text may not look like unless it is quoted: everything else that YAML 1.1 or 1.2 (core) has a type for.
OTHER_TYPES = re.compile(
    r"""(~|null|Null|NULL|)                                             # null
    |(y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)
    |[-+]?(0b[01_]+|0o?[0-7_]+|[0-9][0-9_]*|0x[0-9a-fA-F_]+)            # integers
    |[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?                       # base 60
    |[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?   # floats
    |[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)
    |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*                                   # timestamps
    |<<|=""",
    re.VERBOSE,
)


def texts_hot(text):
    """Return a template that has the text in every place where a text from outside can get."""
    properties = {"name": text, "metadata": {text: text, f"{text}+": [text, text]}}
    fragments = {
        f"volume{text}": HeatResource("OS::Cinder::Volume", properties, title=text),
        "image": HeatParameter(text, "OS::Glance::Image", description=text, title=text),
    }
    return hot_of(fragments, description=text)


@given(TEXTS)
@example("\ufeff\x85 \u2028")
def test_a_text_stays_what_it_was(text):
    hot = texts_hot(text)
    for loaded in (yaml.safe_load(hot.text), heat.load(hot.text)):
        [resource] = loaded["resources"].values()
        [parameter] = loaded["parameters"].values()
        output = loaded["outputs"][f"volume{text}"]
        assert (loaded["description"], parameter["description"]) == (text, text)
        assert resource["properties"] == {"name": text, "metadata": {text: text, f"{text}+": [text, text]}}
        assert output["description"] == f"New id of OS::Cinder::Volume {text}".rstrip()
    assert yaml.safe_load(hot.environment) == {"parameters": {"p_image_image": text}}


@pytest.mark.parametrize("text", TRICKY)
def test_a_tricky_text_stays_what_it_was(text):
    hot = texts_hot(text)
    for loaded in (yaml.safe_load(hot.text), heat.load(hot.text)):
        [resource] = loaded["resources"].values()
        assert resource["properties"] == {"name": text, "metadata": {text: text, f"{text}+": [text, text]}}


@given(TEXTS)
def test_what_no_reader_may_take_for_another_type_is_quoted(text):
    tokens = yaml.scan(texts_hot(text).text)
    plain = {token.value for token in tokens if isinstance(token, yaml.ScalarToken) and token.plain}
    assert [value for value in plain if OTHER_TYPES.fullmatch(value)] == []


@given(st.dictionaries(TEXTS, DATA, min_size=1).filter(lambda data: not is_function_call(data)))
def test_data_comes_back_without_nulls(data):
    hot = hot_of({"v": volume(metadata=data)})
    for loaded in (yaml.safe_load(hot.text), heat.load(hot.text)):
        assert loaded["resources"]["volume_v"]["properties"] == {"size": 1, "metadata": without_nulls(data)}


@settings(max_examples=50)
@given(
    st.dictionaries(TEXTS.filter(lambda key: key not in heat.function_names()), TEXTS, max_size=5), TEXTS, TEXTS
)
def test_heat_takes_any_text(metadata, name, title):
    server = HeatResource(
        "OS::Nova::Server", {"name": name, "flavor": "2", "image": "i", "metadata": metadata}, title=title
    )
    assert judge(hot_of({"s": server}, title).text) == ["server_s"]


def test_the_version_is_a_text():
    assert f'heat_template_version: "{HOT_VERSION}"\n' in hot_of({"v": volume()}).text


def test_a_member_of_an_enumeration_is_its_text():
    class Mode(enum.StrEnum):
        READ = "ro"

    class Size(enum.IntEnum):
        SMALL = 1

    loaded = yaml.safe_load(hot_of({"v": volume(size=Size.SMALL, metadata={"mode": Mode.READ})}).text)
    assert loaded["resources"]["volume_v"]["properties"] == {"size": 1, "metadata": {"mode": "ro"}}


def test_shared_values_are_written_out_each_time():
    shared = {"a": ["b"]}
    text = hot_of({"v": volume(metadata={"x": shared, "y": shared})}).text
    assert "&" not in text
    assert "*" not in text


@pytest.mark.parametrize(
    ("properties", "where"),
    [
        ({"name": "\ud800"}, "volume_v.name"),
        ({"metadata": {"a": ["\udc80"]}}, "volume_v.metadata.a[0]"),
        ({"metadata": {"\udfff": "a"}}, "volume_v.metadata"),
        ({"size": 1.5}, "volume_v.size: a float"),
        ({"metadata": {"day": dt.date(2020, 3, 5)}}, "volume_v.metadata.day: a date"),
        ({"name": b"a"}, "volume_v.name: a bytes"),
    ],
)
def test_what_no_template_can_carry_is_refused_by_name(properties, where):
    with pytest.raises(TemplateError, match=re.escape(where)):
        HeatTemplate().put_resource("v", HeatResource("OS::Cinder::Volume", properties))


@pytest.mark.parametrize(
    "fragment",
    [
        HeatResource("OS::Cinder::Volume", {}, title="\udcff"),
        HeatParameter(None, "OS::Cinder::Volume", title="\udcff"),
        HeatParameter(None, "OS::Cinder::Volume", description="\udcff"),
    ],
)
def test_half_a_character_is_refused_in_titles_and_descriptions(fragment):
    with pytest.raises(TemplateError, match="volume_v"):
        template_of({"v": fragment})


@pytest.mark.parametrize(
    "hide",
    [
        lambda call: call,
        lambda call: {"key": call},
        lambda call: ["a", call],
        lambda call: (call,),
        lambda call: call | {"dropped as null": None},
        lambda call: {"key": [{"deeper": call}]},
    ],
)
def test_what_heat_would_call_as_a_function_is_refused(hide):
    for function in heat.function_names():
        with pytest.raises(TemplateError, match=f"{function}' would be a function call"):
            HeatTemplate().put_resource("v", volume(metadata=hide({function: "file:///etc/passwd"})))


def test_the_properties_as_a_whole_are_no_function_call_either():
    with pytest.raises(TemplateError, match="would be a function call"):
        HeatTemplate().put_resource("v", HeatResource("OS::Cinder::Volume", {"get_file": "x"}))


def test_the_name_of_a_function_is_data_among_others():
    data = {"get_file": "x", "other": "y"}
    loaded = yaml.safe_load(hot_of({"v": volume(metadata=data)}).text)
    assert loaded["resources"]["volume_v"]["properties"]["metadata"] == data


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
    hot = assemble(loaded, "d")
    assert hot == assemble(template.fragments, "d")
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
    order = judge(assemble(template.fragments, "d").text)
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
    order = judge(assemble(template.fragments, "all").text)
    chains = [
        ["net_n", "subnet_sn", "port_p", "server_s", "volume_attachment_a"],
        ["volume_v", "volume_attachment_a"],
    ]
    for first, second in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
        assert order.index(first) < order.index(second)
