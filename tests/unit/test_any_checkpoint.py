"""Whatever stands in index.json, the checkpoint is read or refused as one; no other error leaves the reader."""

import json

from hypothesis import given
from hypothesis import strategies as st

from restore_worker.checkpoint import parse_checkpoint
from restore_worker.errors import CheckpointError
from tests.support.tenants import tenant

CHECKPOINT = tenant(servers=2)
ID = CHECKPOINT.id
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
LABELS = st.sampled_from(["0x0", "0x1", "0x2", "0x10", "1", "-0x1", " 0x1 ", "0x1_0", "x", ""]) | st.text(
    max_size=3
)
NODES = JSON | st.lists(
    st.sampled_from(["OS::Cinder::Volume", "OS::Nova::Server", "v", "s", "", None]) | JSON, min_size=2, max_size=5
)
GRAPHS = JSON | st.tuples(
    st.dictionaries(LABELS, NODES, max_size=5),
    st.lists(st.tuples(LABELS, st.lists(LABELS, max_size=3)) | JSON, max_size=5),
)


def is_told(data):
    """Parse; say whether it is a checkpoint or was refused as one. Any other error is the test's failure."""
    try:
        checkpoint = parse_checkpoint(ID, data)
        checkpoint.restorable_graph()
    except CheckpointError as error:
        return str(error).startswith(f"checkpoint {ID}")
    # What got in can be stored and sent.
    json.dumps(
        [checkpoint.extra_info, *map(vars_of, checkpoint.graph.nodes.values())], ensure_ascii=False
    ).encode()
    return True


def vars_of(node):
    return [*node.key, node.name, node.extra_info]


@given(st.binary())
def test_any_bytes_are_told(data):
    assert is_told(data)


@given(JSON)
def test_any_json_is_told(document):
    assert is_told(json.dumps(document).encode())


@given(st.sampled_from(sorted(CHECKPOINT.index())), JSON)
def test_any_value_of_a_field_is_told(field, value):
    assert is_told(json.dumps(CHECKPOINT.index() | {field: value}).encode())


@given(GRAPHS)
def test_any_graph_is_told(graph):
    assert is_told(json.dumps(CHECKPOINT.index() | {"resource_graph": json.dumps(graph)}).encode())


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_any_few_bytes_that_were_overwritten_are_told(place, noise):
    whole = json.dumps(CHECKPOINT.index()).encode()
    place %= len(whole)
    assert is_told(whole[:place] + noise + whole[place + len(noise) :])
