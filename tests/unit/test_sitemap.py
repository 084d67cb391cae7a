"""Site maps: what is told of broken ones, and which entry speaks."""

from __future__ import annotations

import contextlib
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.errors import SiteMapError
from restore_worker.resource import Resource, ResourceKey
from restore_worker.site_rules import Condition, Rule, Section, Subject
from restore_worker.sitemap import SiteMap, read
from tests.support.processes import ROOT

SERVER = "OS::Nova::Server"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Give a function that reads a site map of a text or of bytes."""
    monkeypatch.chdir(tmp_path)

    def call(content):
        (tmp_path / "site.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
        return read("site.yaml")

    return call


def subject(*values, name="web-1", resource_id="server-1", **properties):
    return Subject(Resource(ResourceKey(SERVER, resource_id), name), values, properties)


def speak(section, *values, **choices):
    spoken = section.speak(subject(*values, **choices))
    return spoken and spoken.value


# What is wrong with a file

BAD = {
    "": "site.yaml:1: it is empty",
    "# nothing\n": "site.yaml:1: it is empty",
    "- flavor\n": "site.yaml:1: it is no mapping of sections",
    "flavor:\n": "site.yaml:1: flavor: it is empty",
    "zone:\n  map:\n    az1: ~\n": "site.yaml:3: zone.map.az1: it is empty",
    "flavour: {}\n": "site.yaml:1: flavour: there is no such key",
    "flavor:\n  map:\n    a: b\n  maps: {}\n": "site.yaml:4: flavor.maps: there is no such key",
    "zone: {}\nflavor: {}\nzone: {}\n": "site.yaml:3: zone: it stands there twice, first in line 1",
    "flavor:\n  map:\n    a: b\n    'a': c\n": "site.yaml:4: flavor.map.a: it stands there twice",
    "flavor:\n  map:\n    1: 2\n": "site.yaml:3: flavor.map.1: 2 is no text to YAML: write it in quotes",
    "flavor: {default: true}\n": "site.yaml:1: flavor.default: True is no text to YAML",
    "flavor: {default: ''}\n": "site.yaml:1: flavor.default: the text is empty",
    "flavor: {policy: smallest}\n": "site.yaml:1: flavor.policy: input should be 'same', 'nearest' or 'fail'",
    "key_pair: {public_keys: {ops: -----BEGIN OPENSSH PRIVATE KEY-----}}\n": (
        "site.yaml:1: key_pair.public_keys.ops: it is no OpenSSH public key"
    ),
    "macs: {}\n": "site.yaml:1: macs.policy: it is missing",
    "flavor:\n  rules:\n    - value: a\n": "site.yaml:3: flavor.rules[0].to: it is missing",
    "flavor:\n  rules:\n    - to: b\n": "site.yaml:3: flavor.rules[0]: it is for everything",
    "flavor: {rules: [{when: {}, to: b}]}\n": "site.yaml:1: flavor.rules[0].when: it has no condition",
    "flavor:\n  rules:\n    - to: b\n      value: '(a'\n": "site.yaml:4: flavor.rules[0].value: the pattern is broken",
    "flavor:\n  rules:\n    - {value: (a), to: '\\2'}\n": "site.yaml:3: flavor.rules[0]: `to` refers to what",
    "flavor:\n  rules:\n    - {value: (a), to: '\\g<b>'}\n": "site.yaml:3: flavor.rules[0]: `to` refers to what",
    "flavor: {rules: {value: a, to: b}}\n": "site.yaml:1: flavor.rules: it must be a list",
    "flavor: [a]\n": "site.yaml:1: flavor: it must be a mapping",
    "source:\n  flavors:\n    7: {vcpus: 1, ram: 2G, disk: 1}\n": "site.yaml:3: source.flavors.7.ram: it must be",
    "source:\n  flavors:\n    7: {vcpus: 0, ram: 1, disk: 1}\n": "site.yaml:3: source.flavors.7.vcpus: input should",
    "zone: {}\n---\nflavor: {}\n": "site.yaml:2: expected a single document",
    "zone: &z {default: a}\nflavor: *z\n": "site.yaml:2: aliases (*name) are not taken",
    "zone: {default: !!python/name:os.system x}\n": "site.yaml:1: tags (tag:yaml.org,2002:python/name:os.system)",
    "zone: {default: !secret x}\n": "site.yaml:1: tags (!secret) are not taken",
    "zone: {? [a] : b}\n": "site.yaml:1: zone: a key must be a text",
    "zone: {<<: {default: a}}\n": "site.yaml:1: zone.<<: there is no such key",
    "zone: {\n": "site.yaml:2: while parsing a flow",
    "zone: a: b\n": "site.yaml:1: mapping values are not allowed here",
    "zone: {default: \x07}\n": "site.yaml:1: it has a character that YAML forbids",
    "zone:\n" + "[" * 500: "site.yaml:2: it has more than 20 levels",
    "source: {flavors: {7: {vcpus: " + "9" * 5000 + ", ram: 1, disk: 1}}}\n": "source.flavors.7.vcpus: the number",
    b"zone:\n  default: \xff\n": "site.yaml:2: it is not UTF-8",
    "zone: {}\n".encode("utf-16"): "site.yaml:1: it is not UTF-8",
    b"#" * (2**20 + 1): "site.yaml has more than 1048576 bytes",
}


@pytest.mark.parametrize(("content", "told"), BAD.items(), ids=[told[:60] for told in BAD.values()])
def test_what_is_wrong_is_told_in_one_line_with_its_place(load, content, told):
    with pytest.raises(SiteMapError) as caught:
        load(content)
    assert str(caught.value).startswith(("site.yaml:", "site.yaml has"))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_all_that_is_wrong_is_told_in_the_order_of_the_file(load):
    with pytest.raises(SiteMapError) as caught:
        load("zone:\n  nope: a\nflavor:\n  policy: x\n  map: {a: 1}\n")
    places = [line.split(" ")[:2] for line in str(caught.value).splitlines()]
    assert places == [
        ["site.yaml:2:", "zone.nope:"],
        ["site.yaml:4:", "flavor.policy:"],
        ["site.yaml:5:", "flavor.map.a:"],
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for file in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(SiteMapError, match=re.escape(f"{file} cannot be read: ")):
            read(file)


@given(st.binary(max_size=200) | st.text("{}[]:,-?!&*'\"\\ \n#|>%@`azflvor1.~", max_size=60).map(str.encode))
def test_whatever_is_in_the_file_only_site_map_errors_come(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    with contextlib.suppress(SiteMapError):
        assert isinstance(read(file), SiteMap)


# What a file says


def test_texts_are_what_yaml_1_2_says(load):
    found = load(
        "zone:\n  map: {yes: no, 010: on, ~: '1', 2020-01-01: 2020-01-02, 1e3: '0x1', true: a:b}\n"
    ).zone.map
    assert found == {"yes": "no", "010": "on", "~": "1", "2020-01-01": "2020-01-02", "1e3": "0x1", "true": "a:b"}
    shape = load("source: {flavors: {7: {vcpus: 0x10, ram: 0o17, disk: 010}}}\n").source.flavors["7"]
    assert (shape.vcpus, shape.ram, shape.disk) == (16, 15, 10)


def test_the_schema_may_be_named_in_two_ways(load):
    text = (
        "# yaml-language-server: $schema=sitemap.schema.json\n$schema: sitemap.schema.json\nzone: {default: a}\n"
    )
    assert load("\ufeff" + text).zone.default == "a"


def test_the_example_of_the_docs_is_a_site_map(load):
    text = (ROOT / "docs" / "sitemap.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    site_map = load(example)
    assert site_map.speak("flavor", subject("m1.large", name="db-1")).value == "r2.large"
    assert site_map.speak("flavor", subject("m1.large", resource_id="fc688078-ce46-423f-a950-6a47b397c96d"))[
        0
    ] == ("c2.huge")
    assert site_map.speak("flavor", subject("42", "m1.small")).value == "c2.small"
    assert site_map.speak("flavor", subject("m1.large")) is None
    assert site_map.speak("volume_type", subject(size=1000)).value == "archive"
    assert site_map.speak("name", subject("web-1")).value == "dr-web-1"
    assert site_map.policy("flavor") == "nearest"
    assert site_map.policy("macs") is None
    for section in SiteMap.model_fields.keys() - {"schema_url"}:
        assert f"`{section}" in text


def test_an_entry_is_named_with_its_line(load):
    site_map = load(
        "zone:\n  map:\n    a: b\n  rules:\n    - value: c\n\n    # more\n      to: d\n  policy: fail\n"
    )
    places = [site_map.place(site_map.speak("zone", subject(each)).entry) for each in "ac"]
    assert places == ["site.yaml:3 zone.map.a", "site.yaml:5 zone.rules[0]"]
    assert site_map.place(("zone", "policy")) == "site.yaml:9 zone.policy"
    assert SiteMap(zone={"default": "x"}).place(("zone", "default")) == "zone.default"


# Which entry speaks


def test_the_most_specific_entry_speaks():
    rules = (
        {"value": "a.*", "to": "by pattern"},
        {"when": {"name": "web-.*"}, "value": "b", "to": "by name"},
        {"when": {"id": "server-2"}, "to": "by id"},
        {"value": ".*z", "to": "too late"},
    )
    section = Section.model_validate({"map": {"a1": "exact", "c": "exact"}, "rules": rules, "default": "default"})
    assert speak(section, "a1", resource_id="server-2") == "by id"
    assert speak(section, "a1") == speak(section, "az") == "by pattern"
    assert speak(section, "b") == "by name"
    assert speak(section, "c") == "exact"
    assert speak(section, "b", name="db-1") == speak(section) == "default"
    assert speak(section, "unknown", "c") == "exact"


def test_captures_of_the_pattern_are_put():
    def rule(**fields):
        return Section.model_validate({"rules": [fields]})

    assert speak(rule(value=r"m(\d)\.(.*)", to=r"c\1.\2-\1"), "m1.big") == "c1.big-1"
    assert speak(rule(value=r"m(?P<n>\d)", to=r"c\g<n>\g<0>"), "m1") == "c1m1"
    assert speak(rule(value="m1", to="x"), "m1.big") is None
    assert speak(rule(when={"name": "web-1"}, to=r"dr-\g<0>"), "m1") == "dr-m1"
    # Nothing came of it, so it does not speak.
    assert speak(rule(value="m(1)?", to=r"\1"), "m") is None


def test_a_condition_holds_if_all_of_it_does():
    one = Resource(ResourceKey(SERVER, "server-1"), "web-1", {"availability_zone": "az1"})
    asked = Subject(one, (), {"size": 20})
    for holding in (
        {"type": SERVER},
        {"id": "server-1", "name": "web-[0-9]"},
        {"property": {"size": "20", "availability_zone": "az."}},
    ):
        assert Condition.model_validate(holding).holds(asked)
    for failing in (
        {"type": "OS::Nova::Serve"},
        {"id": "server-1", "name": "web-"},
        {"property": {"size": "2"}},
        {"property": {"size": "20", "color": ".*"}},
    ):
        assert not Condition.model_validate(failing).holds(asked)


WORDS = st.sampled_from(["a", "b", "ab", "ba", "server-1", "server-2"])
RULES = st.lists(
    st.builds(
        lambda **fields: Rule.model_validate({name: value for name, value in fields.items() if value is not None}),
        when=st.none()
        | st.fixed_dictionaries({}, optional={"id": WORDS, "name": WORDS, "type": st.just(SERVER)}).filter(bool),
        value=st.sampled_from(["a.*", "(a)(b)", ".*", "b"]),
        to=WORDS,
    ),
    max_size=5,
)


@given(st.dictionaries(WORDS, WORDS), RULES, st.none() | WORDS, st.lists(WORDS, max_size=2), WORDS, st.randoms())
def test_precedence_is_total_and_no_matter_of_the_order_of_a_mapping(
    exact, rules, default, values, resource_id, dice: random.Random
):
    entries = list(exact.items())
    dice.shuffle(entries)
    asked = subject(*values, name="a", resource_id=resource_id)
    first, second = (
        Section(map=each, rules=tuple(rules), default=default).speak(asked) for each in (exact, dict(entries))
    )
    assert first == second
    by_id = [place for place, rule in enumerate(rules) if rule.when and rule.when.id]
    others = [place for place in range(len(rules)) if place not in by_id]
    speaking = [place for place in by_id + others if rules[place].speak(asked) is not None]
    known = [each for each in values if each in exact]
    expected = (
        ("rules", speaking[0]) if speaking else ("map", known[0]) if known else ("default",) if default else None
    )
    assert (first and first.entry) == expected
