"""What goes into a template as text comes out of every YAML reader as that text, and never as a function of Heat."""

import datetime as dt
import enum
import re

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restore_worker.errors import TemplateError
from restore_worker.hot import HOT_VERSION
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate
from tests.support import judge as heat
from tests.support.fragments import (
    DATA,
    TEXTS,
    TRICKY,
    hot_of,
    is_function_call,
    template_of,
    volume,
    without_nulls,
)
from tests.support.judge import judge

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
