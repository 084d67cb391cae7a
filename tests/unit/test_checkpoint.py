"""index.json: whatever Karbor wrote is read, whatever is damaged is refused in one sentence."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restore_worker.checkpoint import parse_checkpoint, parse_json
from restore_worker.errors import CheckpointError, GraphError
from restore_worker.resource import ResourceKey
from tests.support import nodes
from tests.support.banks import BankCheckpoint, Node
from tests.support.tenants import tenant

VOLUMES = tuple(nodes.volume(f"v{number}", f"disk {number}") for number in range(3))
SERVER = nodes.server("s", "web-1", boot="v0", from_volume=True, data_volumes=["v1"])
CHECKPOINT = BankCheckpoint(
    nodes=(*VOLUMES, SERVER), edges={SERVER.key: (VOLUMES[1].key, VOLUMES[0].key)}, extra_info=None
)
ID = CHECKPOINT.id


def index(checkpoint=CHECKPOINT, **changes):
    return checkpoint.index() | changes


def parse(document, checkpoint_id=ID):
    return parse_checkpoint(checkpoint_id, json.dumps(document).encode())


def parse_graph(graph):
    return parse(index(resource_graph=json.dumps(graph))).graph


def refusal(document, kind=CheckpointError):
    """Return the sentence by which a checkpoint is refused."""
    with pytest.raises(kind) as raised:
        parse(document)
    sentence = str(raised.value)
    assert sentence.startswith(f"checkpoint {ID}: index.json")
    assert "\n" not in sentence
    return sentence


# What Karbor writes


def test_a_checkpoint_is_read():
    checkpoint = parse(index(extra_info='{"created_by": "manual"}'))
    assert (checkpoint.id, checkpoint.status) == (ID, "available")
    assert (checkpoint.plan.id, checkpoint.plan.name) == (CHECKPOINT.plan_id, "nightly")
    assert (checkpoint.project_id, checkpoint.provider_id) == (CHECKPOINT.project_id, CHECKPOINT.provider_id)
    assert checkpoint.created == datetime(2020, 3, 5, 2, 0, 7, tzinfo=UTC)
    assert checkpoint.extra_info == {"created_by": "manual"}
    graph = checkpoint.restorable_graph()
    assert list(graph.nodes) == [node.key for node in CHECKPOINT.nodes]
    assert graph.children == {SERVER.key: (VOLUMES[1].key, VOLUMES[0].key)}
    assert [(node.name, node.extra_info) for node in graph.nodes.values()] == [
        *((f"disk {number}", {"availability_zone": "nova"}) for number in range(3)),
        ("web-1", {}),
    ]


@pytest.mark.parametrize("rooted", [True, False])
def test_a_whole_tenant_is_read(rooted):
    checkpoint = tenant(servers=40, images=3, networks=3, rooted=rooted, seed=7)
    graph = parse(checkpoint.index(), checkpoint.id).restorable_graph()
    assert list(graph.nodes) == [node.key for node in checkpoint.nodes]
    assert graph.children == checkpoint.edges
    # The project and its network node have one id.
    assert len({key.id for key in graph.nodes}) == len(graph.nodes) - rooted


@pytest.mark.parametrize(
    ("extra_info", "read"),
    [
        (None, {}),
        ({}, {}),
        ({"server_id": "s"}, {"server_id": "s"}),
        ('{"availability_zone": "nova"}', {"availability_zone": "nova"}),
        ("", {}),
        ("what a user wrote", {}),
        ('"a text"', {}),
        ("[1, 2]", {}),
        ("[" * 100_000, {}),
        ('{"half of a pair": "\\ud800"}', {}),
        ([1], {}),
        (7, {}),
    ],
)
def test_extra_info_may_have_any_form(extra_info, read):
    node = replace(VOLUMES[0], extra_info=extra_info)
    checkpoint = parse(index(BankCheckpoint(nodes=(node,), extra_info=extra_info)))
    assert checkpoint.extra_info == read
    assert checkpoint.graph.nodes[node.key].extra_info == read


def test_extra_info_may_be_left_out():
    document = index()
    del document["extra_info"]
    assert parse(document).extra_info == {}
    [node] = parse_graph([{"0x0": ["OS::Cinder::Volume", "v0", "disk"]}, []]).nodes.values()
    assert node.extra_info == {}


@given(st.text())
@example("a\nb\x00\ufeff")
@example("\U0001f600")
def test_a_name_is_kept_character_for_character(name):
    [node] = parse(index(BankCheckpoint(nodes=(Node("OS::Cinder::Volume", "v", name),)))).graph.nodes.values()
    assert node.name == name


def test_a_node_without_a_name_has_an_empty_one():
    [node] = parse(index(BankCheckpoint(nodes=(Node("OS::Cinder::Volume", "v", None),)))).graph.nodes.values()
    assert node.name == ""


def test_nodes_come_in_the_order_of_their_numbers():
    volumes = {hex(number): ["OS::Cinder::Volume", f"v{number}", "", None] for number in (16, 2, 10, 9, 0)}
    assert [key.id for key in parse_graph([volumes, []]).nodes] == ["v0", "v2", "v9", "v10", "v16"]


def test_an_old_and_a_new_name_of_one_resource_are_one_node():
    labelled = {
        "0x0": ["OS::Cinder::Volume", "v0", "disk", None],
        "0x1": ["OS::Nova::Server", "s", "web-1", None],
        "0x2": ["OS::Nova::Server", "s", "old name", None],
        "0x3": ["OS::Keystone::Project", "p", "shop", None],
    }
    graph = parse_graph([labelled, [["0x1", ["0x0"]], ["0x3", ["0x1", "0x2"]]]])
    assert [node.name for node in graph.nodes.values()] == ["disk", "web-1", "shop"]
    server = ResourceKey("OS::Nova::Server", "s")
    assert graph.children == {
        server: (ResourceKey("OS::Cinder::Volume", "v0"),),
        ResourceKey("OS::Keystone::Project", "p"): (server,),
    }


def test_a_volume_may_hang_on_two_servers():
    first, second = (nodes.server(each, boot="v0", from_volume=True) for each in "ab")
    shared = BankCheckpoint(
        nodes=(VOLUMES[0], first, second), edges={first.key: (VOLUMES[0].key,), second.key: (VOLUMES[0].key,)}
    )
    assert parse(shared.index()).graph.parents() == {VOLUMES[0].key: (first.key, second.key)}


def test_the_adjacency_list_may_be_in_any_order():
    labelled = {hex(n): ["OS::Cinder::Volume", f"v{n}", "", None] for n in range(3)}
    assert [key.id for key in parse_graph([labelled, [["0x2", ["0x1"]], ["0x1", ["0x0"]]]]).order()] == [
        "v0",
        "v1",
        "v2",
    ]


def test_a_plan_may_have_no_name():
    plan = CHECKPOINT.index()["protection_plan"]
    assert parse(index(protection_plan=plan | {"name": None})).plan.name == ""
    assert parse(index(protection_plan={"id": "p"})).plan.name == ""


@pytest.mark.parametrize(
    "status",
    ["protecting", "error", "deleting", "deleted", "error-deleting", "wait_copying", "copying", "finished", ""],
)
def test_only_an_available_checkpoint_can_be_restored(status):
    checkpoint = parse(index(status=status))
    assert checkpoint.status == status
    with pytest.raises(CheckpointError, match=f"checkpoint {ID} is '{status}': only an 'available' checkpoint"):
        checkpoint.restorable_graph()


@pytest.mark.parametrize("graph", [None, "left out"])
def test_a_checkpoint_without_a_graph_is_read_but_not_restored(graph):
    document = index(resource_graph=graph)
    if graph:
        del document["resource_graph"]
    checkpoint = parse(document)
    assert checkpoint.graph is None
    with pytest.raises(CheckpointError, match=f"checkpoint {ID} has no resource_graph"):
        checkpoint.restorable_graph()


def test_a_checkpoint_of_nothing_is_not_restored():
    with pytest.raises(CheckpointError, match=f"checkpoint {ID} has an empty resource_graph"):
        parse(BankCheckpoint(nodes=()).index()).restorable_graph()


# What is damaged


def test_an_index_that_was_cut_off_anywhere_is_refused():
    whole = json.dumps(index()).encode()
    for length in range(len(whole)):
        with pytest.raises(
            CheckpointError, match=f"checkpoint {ID}: index.json is no JSON .* truncated or damaged"
        ):
            parse_checkpoint(ID, whole[:length])


def test_a_graph_that_was_cut_off_anywhere_is_refused():
    whole = CHECKPOINT.resource_graph()
    for length in range(len(whole)):
        assert "field resource_graph is no JSON" in refusal(index(resource_graph=whole[:length]))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"\x80",
        # Half of a UTF-16 pair, escaped and as bytes.
        b'{"id": "\\ud800"}',
        b'{"id": "\\uDFFF"}',
        b'{"extra_info": {"a": "\xed\xa0\x80"}}',
        b"[" * 100_000,
        b'{"timestamp": ' + b"9" * 5000 + b"}",
    ],
)
def test_bytes_that_are_no_text_or_no_json_are_refused(data):
    with pytest.raises(CheckpointError, match=r"^the metadata of x is "):
        parse_json(data, "the metadata of x")


@pytest.mark.parametrize("document", [None, [], "text", 7, True])
def test_an_index_that_is_no_object_is_refused(document):
    assert refusal(document) == f"checkpoint {ID}: index.json: input should be an object"


@pytest.mark.parametrize("field", ["version", "id", "status", "protection_plan", "timestamp"])
@pytest.mark.parametrize("value", ["left out", None, 7.5, [], {}, True, -1])
def test_a_field_that_must_be_there_is_named(field, value):
    document = index(**{field: value})
    if value == "left out":
        del document[field]
    assert f"field {field}" in refusal(document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "1.0"}, "field version: '1.0' is not known, only '0.9' is"),
        ({"id": "another"}, "field id: it is that of another checkpoint, 'another'"),
        ({"timestamp": "1583373607"}, "field timestamp"),
        ({"timestamp": 10**15}, "field timestamp"),
        ({"timestamp": 10**400}, "field timestamp"),
        ({"project_id": 7}, "field project_id"),
        ({"provider_id": None}, "field provider_id"),
        ({"protection_plan": "p"}, "field protection_plan: input should be an object"),
        ({"protection_plan": {"id": 7}}, "field protection_plan.id"),
        ({"protection_plan": {"id": "p", "name": []}}, "field protection_plan.name"),
        ({"resource_graph": [{}, []]}, "field resource_graph"),
        ({"resource_graph": ""}, "field resource_graph is no JSON"),
    ],
)
def test_a_wrong_field_is_named(changes, reason):
    assert reason in refusal(index(**changes))


def labelled(*children, first=("OS::Cinder::Volume", "v0", "disk", None)):
    """Return a graph of two volumes and a server, with these entries in its adjacency list."""
    return [
        {
            "0x0": list(first) if isinstance(first, tuple) else first,
            "0x1": ["OS::Cinder::Volume", "v1", "disk", None],
            "0x2": ["OS::Nova::Server", "s", "web-1", None],
        },
        list(children),
    ]


NO_PAIR = "it is not a pair of nodes and adjacency list"
NO_ENTRY = "an entry that is not a parent with a list of children"
NO_NODE = "node 0x0 is not a list of type, id, name and extra_info"
NO_ID = "node 0x0 of type OS::Cinder::Volume: the id"


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        *((graph, NO_PAIR) for graph in (None, 7, "ab", [], {}, [{}], [{}, [], []], [[], []], [{}, {}], {"a": 1, "b": 2})),
        (labelled(["0x2", ["0x2"]]), "OS::Nova::Server 'web-1' (s) depends on itself"),
        (
            labelled(["0x0", ["0x1"]], ["0x1", ["0x2"]], ["0x2", ["0x0"]]),
            "has a cycle: OS::Cinder::Volume#v",
        ),
        (labelled(["0x2", ["0x7"]]), "an edge at '0x7', which is no node"),
        (labelled(["0x7", ["0x0"]]), "an edge at '0x7', which is no node"),
        *((labelled(entry), NO_ENTRY) for entry in ("0x2", [], ["0x2"], ["0x2", "0x0"], ["0x2", [0]], [2, ["0x0"]], {})),
        ([{"zero": ["OS::Cinder::Volume", "v", "", None]}, []], "label is not a hexadecimal number"),
        *((labelled(first=node), NO_NODE) for node in (None, "x", {}, [], ["OS::Cinder::Volume", "v"], ["t", "i", "n", None, 1])),
        (labelled(first=(None, "v", "", None)), "node 0x0: the type is not a text"),
        (labelled(first=("", "v", "", None)), "node 0x0: the type is not a text"),
        (labelled(first=("OS::Cinder::Volume", 7, "", None)), "node 0x0 of type OS::Cinder::Volume: id or name"),
        (labelled(first=("OS::Cinder::Volume", "v", 7, None)), "node 0x0 of type OS::Cinder::Volume: id or name"),
        *((labelled(first=("OS::Cinder::Volume", text, "", None)), NO_ID) for text in ("", "..", "a/b", "../v", "a b", "a\n", "v" * 256)),
    ],
)  # fmt: skip
def test_a_damaged_graph_is_refused_by_what_is_wrong(graph, reason):
    sentence = refusal(index(resource_graph=json.dumps(graph)), GraphError)
    assert sentence.startswith(f"checkpoint {ID}: index.json, field resource_graph: ")
    assert reason in sentence


def test_a_name_that_is_no_text_in_utf_8_is_refused():
    graph = labelled(first=("OS::Cinder::Volume", "v", "\ud800", None))
    assert "field resource_graph is no JSON" in refusal(index(resource_graph=json.dumps(graph)))
