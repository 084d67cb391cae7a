"""Banks as Karbor left them: what can be restored is planned, what cannot is told by resource and field."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.bank import open_bank
from restore_worker.errors import CheckpointError, GraphError, RestoreError
from restore_worker.plan import make_plan
from restore_worker.render import render
from tests.support import nodes
from tests.support.banks import INDEX, BankCheckpoint, Cycle, Edited, Missing, Truncated, data_of, write
from tests.support.judge import judge
from tests.support.tenants import tenant

WHOLE = tenant(servers=4, volumes_per_server=2, networks=2, images=2, seed=5)
BY_TYPE = {
    kind: [node for node in WHOLE.nodes if node.type == kind] for kind in {node.type for node in WHOLE.nodes}
}
VOLUME, IMAGE, SERVER, NETWORK = (
    BY_TYPE[kind][0] for kind in (nodes.VOLUME, nodes.IMAGE, nodes.SERVER, nodes.NETWORK)
)


def plan_of(checkpoint, folder, *damage):
    write(checkpoint, folder, damage)
    return make_plan(open_bank(str(folder)), checkpoint.id)


def edited(node, **changes):
    return Edited(data_of(node.id, "metadata"), lambda metadata: metadata | changes)


# What Karbor's banks have, damaged or not


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rooted", [True, False])
def test_a_tenant_comes_back_whole(tmp_path, seed, rooted):
    checkpoint = tenant(servers=4, networks=3, images=2, seed=seed, rooted=rooted)
    plan = plan_of(checkpoint, tmp_path)
    assert plan.problems == ()
    assert {one.resource.key for one in plan.resources} == {node.key for node in checkpoint.nodes}
    (hot,) = render(plan).hots
    order = judge(hot.text)
    servers = [name for name in order if name.startswith("server_")]
    assert sorted(servers) == sorted(f"server_{node.id}" for node in checkpoint.nodes if node.type == nodes.SERVER)


def test_the_network_comes_before_the_servers_though_the_graph_has_no_edge(tmp_path):
    plan = plan_of(tenant(rooted=False), tmp_path)
    order = [one.resource.type for one in plan.resources]
    assert order.index(nodes.NETWORK) < order.index(nodes.SERVER)


@pytest.mark.parametrize("status", ["available", '"available"', "available\n"])
def test_a_status_may_be_written_as_python_2_did(tmp_path, status):
    volume = replace(nodes.volume("v", "disk"), status=status)
    assert plan_of(BankCheckpoint(nodes=(volume,)), tmp_path).problems == ()


@pytest.mark.parametrize("python", [2, 3])
@pytest.mark.parametrize("size", [400, 500, 5000])
def test_chunks_of_either_python_are_whole(tmp_path, python, size):
    image = nodes.image("i", "ubuntu", b'"text of an image"' * 500, chunk_size=size, python=python)
    rendering = render(plan_of(BankCheckpoint(nodes=(image, nodes.volume("v"))), tmp_path))
    assert rendering.problems == ()
    assert rendering.hots[0].open_parameters == ("p_image_i",)


def test_one_image_of_many_servers_is_one_node(tmp_path):
    image = nodes.image("i", "ubuntu", server_id="s0")
    servers = [nodes.server(f"s{number}", f"web-{number}", boot="i") for number in range(3)]
    checkpoint = BankCheckpoint(nodes=(image, *servers), edges={each.key: (image.key,) for each in servers})
    assert len(plan_of(checkpoint, tmp_path).resources) == 4


def test_a_listing_finds_what_the_indices_forgot(tmp_path):
    write(WHOLE, tmp_path, indices=False)
    assert make_plan(open_bank(str(tmp_path)), "latest").checkpoint.id == WHOLE.id


# What is wrong with the checkpoint as a whole

GRAPH = f"checkpoint {WHOLE.id}: index.json, field resource_graph: "


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (Truncated(INDEX), CheckpointError, f"checkpoint {WHOLE.id}: index.json is no JSON"),
        (Truncated(INDEX, keep=0), CheckpointError, f"checkpoint {WHOLE.id}: index.json is no JSON"),
        (Cycle((VOLUME.key, SERVER.key)), GraphError, f"{GRAPH}the resource graph has a cycle: "),
        (Cycle((SERVER.key,)), GraphError, f"{GRAPH}OS::Nova::Server 'server-0' ({SERVER.id}) depends on itself"),
        (Missing(INDEX), RestoreError, f"has no checkpoint for '{WHOLE.id}'"),
        (
            Edited(INDEX, lambda index: index | {"status": "protecting"}),
            CheckpointError,
            f"checkpoint {WHOLE.id} is 'protecting': only an 'available' checkpoint can be restored",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path, damage, error, sentence):
    with pytest.raises(error) as raised:
        plan_of(WHOLE, tmp_path, damage)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


# What is wrong with a single resource


def metadata_of(node):
    return data_of(node.id, "metadata")


@pytest.mark.parametrize(
    ("node", "damage", "field", "words"),
    [
        (VOLUME, Missing(metadata_of(VOLUME)), "metadata", "metadata"),
        (VOLUME, Missing(data_of(VOLUME.id, "status")), "status", "status"),
        (VOLUME, Truncated(metadata_of(VOLUME)), "metadata", "truncated or damaged"),
        (VOLUME, Truncated(metadata_of(VOLUME), keep=0), "metadata", "truncated or damaged"),
        (VOLUME, Truncated(data_of(VOLUME.id, "status"), keep=4), "status", "'avai'"),
        (VOLUME, edited(VOLUME, backup_id=7), "backup_id", "string"),
        (VOLUME, Edited(metadata_of(VOLUME), lambda _: []), "metadata", "object"),
        (IMAGE, Missing(data_of(IMAGE.id, "data_2")), "data", "data_2"),
        (IMAGE, Missing(data_of(IMAGE.id, "data_3")), "data", "data_3"),
        (IMAGE, edited(IMAGE, chunks_num=2), "data", "data_3"),
        (IMAGE, edited(IMAGE, chunks_num="3"), "metadata.chunks_num", "integer"),
        (IMAGE, edited(IMAGE, image_metadata=None), "metadata.image_metadata", "object"),
        (SERVER, Missing(metadata_of(SERVER)), "metadata", "metadata"),
        (SERVER, edited(SERVER, server_metadata=None), "metadata.server_metadata", "object"),
        (SERVER, edited(SERVER, server_metadata={"networks": [{"get_file": "/etc/passwd"}]}), "metadata", ""),
        (NETWORK, edited(NETWORK, port_metadata=[]), "metadata.port_metadata", "dict"),
        (NETWORK, Truncated(metadata_of(NETWORK)), "metadata", "truncated or damaged"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_a_damaged_resource_is_told_by_name_and_field(tmp_path, node, damage, field, words):
    problems = plan_of(WHOLE, tmp_path, damage).problems
    own = [each for each in problems if (each.type, each.id) == node.key]
    assert len(own) == 1
    assert own[0].field.startswith(field) or field in own[0].field
    assert words in own[0].text
    sentence = str(own[0])
    assert node.type in sentence
    assert node.id in sentence
    assert "\n" not in sentence
    assert "broke:" not in sentence


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    damage = [Missing(metadata_of(VOLUME)), Missing(data_of(IMAGE.id, "data_1")), Truncated(metadata_of(NETWORK))]
    problems = plan_of(WHOLE, tmp_path, *damage).problems
    assert {node.key for node in (VOLUME, IMAGE, NETWORK)} <= {(each.type, each.id) for each in problems}


@pytest.mark.parametrize("status", ["error", "protecting", "deleted", ""])
def test_a_failed_resource_of_an_available_checkpoint_is_told(tmp_path, status):
    damage = Truncated(data_of(VOLUME.id, "status"), keep=0)
    write(WHOLE, tmp_path, [damage])
    (tmp_path / "checkpoints" / WHOLE.id / data_of(VOLUME.id, "status")).write_text(status)
    [problem] = make_plan(open_bank(str(tmp_path)), WHOLE.id).problems
    assert (problem.id, problem.field) == (VOLUME.id, "status")
    assert f"{status!r}" in problem.text


def test_a_type_that_nobody_restores_is_told(tmp_path):
    pod = replace(nodes.volume("pod"), type="OS::Kubernetes::Pod", name="web")
    [problem] = plan_of(BankCheckpoint(nodes=(pod, nodes.volume("v"))), tmp_path).problems
    assert str(problem).startswith("OS::Kubernetes::Pod 'web' (pod): no plugin restores this type")


@pytest.mark.parametrize("chunk", ["data_1", "data_3"])
def test_bytes_that_are_not_those_that_were_saved_are_told(tmp_path, chunk):
    plan = plan_of(WHOLE, tmp_path, Truncated(data_of(IMAGE.id, chunk)))
    [problem] = render(plan).problems
    assert problem.id == IMAGE.id
    assert "MD5" in problem.text


# Anything at all

SMALL = tenant(servers=2, volumes_per_server=1, networks=1, seed=5)
KNOWN = [node for node in SMALL.nodes if node.metadata is not None]
# What a field may well hold, though not this one.
WORDS = [
    "yes",
    "10.0.0.9",
    "10.0.0.0/33",
    "::1",
    "fd00::/64",
    "fa:16:3e:00:00:01",
    "default",
    "network:dhcp",
    "tcp",
    "egress",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.floats() | st.text(max_size=20)
    | st.sampled_from([node.id for node in SMALL.nodes] + WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(document, path=()):
    """Yield the path of every value in a JSON document."""
    yield path
    entries = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in entries:
        yield from places(value, (*path, key))


def replaced(document, path, value):
    """Return the document with another value at the path."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


PLACES = {node.key: list(places(node.metadata)) for node in KNOWN}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    write(SMALL, folder)
    return folder


def told(bank, node, metadata):
    """Plan and render with other metadata of a node: nothing is raised, nobody broke, Heat takes what comes out."""
    path = bank / "checkpoints" / SMALL.id / metadata_of(node)
    old = path.read_bytes()
    path.write_bytes(metadata)
    try:
        rendering = render(make_plan(open_bank(str(bank)), SMALL.id))
    finally:
        path.write_bytes(old)
    assert [each for each in rendering.problems if "broke:" in each.text] == []
    if rendering.hots:
        judge(rendering.hots[0].text)
    return rendering


@given(node=st.sampled_from(KNOWN), data=st.data())
def test_any_value_in_any_field_of_metadata_is_told_or_restored(bank, node, data):
    place = data.draw(st.sampled_from(PLACES[node.key]))
    metadata = replaced(node.metadata, place, data.draw(JSON))
    told(bank, node, json.dumps(metadata).encode())


@given(node=st.sampled_from(KNOWN), data=st.data())
def test_a_field_that_is_left_out_is_told_or_restored(bank, node, data):
    place = data.draw(st.sampled_from([path for path in PLACES[node.key] if path and isinstance(path[-1], str)]))
    parent = node.metadata
    for key in place[:-1]:
        parent = parent[key]
    rest = {key: value for key, value in parent.items() if key != place[-1]}
    told(bank, node, json.dumps(replaced(node.metadata, place[:-1], rest)).encode())


# `{}` is a project without a network.
@given(node=st.sampled_from(KNOWN), metadata=st.binary().filter(lambda each: each.strip() != b"{}"))
def test_any_bytes_of_metadata_are_told(bank, node, metadata):
    assert [each.id for each in told(bank, node, metadata).problems].count(node.id) == 1
