"""A bank's texts reach the template as they are, and nothing else of a bank does: no function of Heat, no other type."""

import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from restore_worker.plan import make_plan
from restore_worker.render import render
from tests.fuzz.targets import FUNCTIONS, WHOLE, MemoryBank, check_functions, objects_of
from tests.support.fragments import TEXTS
from tests.support.judge import function_names

OBJECTS = objects_of(WHOLE)
KEPT = {node.key: node for node in WHOLE.nodes if node.metadata is not None}
# No id, so that only what may be any text takes it.
MARKER = "marker 7f3a!"
# What means something to Neutron or to us, wherever it stands.
MEANINGS = {"default", "any", "ip", "icmpv6", "hopopt", "ipip"}


def places(document, path=()):
    """Yield the path of every value in a JSON document."""
    yield path
    entries = document.items() if isinstance(document, dict) else ()
    entries = enumerate(document) if isinstance(document, list) else entries
    for key, value in entries:
        yield from places(value, (*path, key))


def at(document, path):
    return at(document[path[0]], path[1:]) if path else document


def replaced(document, path, value):
    """Return the document with another value at the path."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


PLACES = [(key, path) for key, node in KEPT.items() for path in places(node.metadata)]


def rendered(key, path, value):
    """Plan and render with another value at a place of a resource's metadata, or as its name for the path "name"."""
    node = next(node for node in WHOLE.nodes if node.key == key)
    objects = dict(OBJECTS)
    base = f"checkpoints/{WHOLE.id}"
    if path == "name":
        nodes = tuple(replace(each, name=value) if each is node else each for each in WHOLE.nodes)
        objects[f"{base}/index.json"] = json.dumps(replace(WHOLE, nodes=nodes).index()).encode()
    else:
        metadata = replaced(node.metadata, path, value)
        objects[f"{base}/resource-data/{key.id}/metadata"] = json.dumps(metadata).encode()
    return render(make_plan(MemoryBank(objects), WHOLE.id), verify=False)


def properties(rendering):
    resources = yaml.safe_load(rendering.hots[0].text)["resources"]
    return {name: each["properties"] for name, each in resources.items()}


@pytest.fixture(scope="module")
def free():
    """The places of which a text reaches the template as it is."""
    texts = [(key, path) for key, path in PLACES if isinstance(at(KEPT[key].metadata, path), str)]
    texts += [(node.key, "name") for node in WHOLE.nodes]
    tried = {place: rendered(*place, MARKER) for place in texts}
    return [place for place, each in tried.items() if each.hots and MARKER in json.dumps(properties(each))]


def told(document, text):
    """Return the document with the text in the place of the marker."""
    if isinstance(document, dict):
        return {key: told(value, text) for key, value in document.items()}
    if isinstance(document, list):
        return [told(value, text) for value in document]
    return text if document == MARKER else document


def test_the_functions_of_heat_are_known():
    assert function_names() <= FUNCTIONS | {name for name in function_names() if name.startswith("Fn::")}


def test_places_with_a_text_of_its_own_are_in_every_type(free):
    assert {key.type for key, _ in free} >= {"OS::Nova::Server", "OS::Cinder::Volume", "OS::Neutron::Network"}
    assert {path[-1] for _, path in free if path != "name"} >= {"name", "description", "flavor"}


@settings(max_examples=60)
@given(data=st.data(), text=TEXTS)
def test_a_text_from_a_bank_comes_out_as_that_text(free, data, text):
    key, path = data.draw(st.sampled_from(free))
    assume(text and text not in MEANINGS and len(text) <= 255)
    rendering = rendered(key, path, text)
    assert rendering.problems == ()
    assert properties(rendering) == told(properties(rendered(key, path, MARKER)), text)
    check_functions(rendering.hots[0])


CALLS = st.sampled_from(sorted(FUNCTIONS)).flatmap(
    lambda name: st.sampled_from([name, [name, "x"], {name: "file:///etc/passwd"}, ["x", {"x": name}]]).map(
        lambda value: {name: value}
    )
)
HIDDEN = st.recursive(
    CALLS,
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(TEXTS, inner, min_size=1, max_size=2),
    max_leaves=3,
)


@given(place=st.sampled_from(PLACES), value=HIDDEN)
def test_a_function_of_heat_in_a_bank_is_told_or_left_out(place, value):
    rendering = rendered(*place, value)
    for problem in rendering.problems:
        assert "broke:" not in problem.text
    if rendering.hots:
        check_functions(rendering.hots[0])
        assert "/etc/passwd" not in rendering.hots[0].text


@given(place=st.sampled_from(PLACES), call=CALLS, data=st.data())
def test_a_function_of_heat_beside_what_is_there_is_told_or_left_out(place, call, data):
    key, path = place
    value = at(KEPT[key].metadata, path)
    mixed = [*value, call] if isinstance(value, list) else {**value, **call} if isinstance(value, dict) else call
    rendering = rendered(key, path, mixed)
    if rendering.hots:
        check_functions(rendering.hots[0])
        assert "/etc/passwd" not in rendering.hots[0].text
