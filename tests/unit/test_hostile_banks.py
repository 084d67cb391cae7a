"""Whatever is in a bank: one sentence that names where, in bounded memory and time, and nothing that steers a terminal."""

import itertools
import json
import logging
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker import definitions, restore
from restore_worker.bank import open_bank
from restore_worker.checkpoint import parse_checkpoint, parse_json
from restore_worker.cli.main import main
from restore_worker.errors import (
    BankError,
    CheckpointError,
    GraphError,
    ParameterError,
    RestoreError,
    UnknownRestoreError,
    printable,
)
from restore_worker.plan import make_plan
from restore_worker.registry import installed
from tests.support import nodes
from tests.support.banks import INDEX, BankCheckpoint, Edited, data_of, write
from tests.support.measured import measured
from tests.support.tenants import tenant

WHOLE = tenant(servers=2, volumes_per_server=1, networks=1, seed=3)
VOLUME, SERVER, NETWORK = (
    next(node for node in WHOLE.nodes if node.type == kind) for kind in (nodes.VOLUME, nodes.SERVER, nodes.NETWORK)
)
METADATA, STATUS = (data_of(VOLUME.id, name) for name in ("metadata", "status"))
MIB = 2**20


def plan_of(folder, checkpoint=WHOLE, *damage):
    write(checkpoint, folder, damage)
    return restore.plan(checkpoint.id, bank=folder, verify=False)


# Size


@pytest.mark.parametrize(
    ("name", "limit"),
    [(INDEX, 32 * MIB), (METADATA, 16 * MIB), (STATUS, 1024)],
    ids=["index", "metadata", "status"],
)
def test_an_object_of_a_gibibyte_is_told_without_being_read(tmp_path, name, limit):
    folder = write(WHOLE, tmp_path)
    os.truncate(folder / name, 2**30)
    run = measured("plan", WHOLE.id, "--bank", str(tmp_path))
    assert run.code == 1
    assert f"{name} in the bank {tmp_path.as_uri()} has {2**30} bytes, more than the {limit} " in run.out + run.err
    assert run.resident < 150


def test_an_index_file_of_a_gibibyte_is_told_without_being_read(tmp_path):
    write(WHOLE, tmp_path)
    [file] = (tmp_path / "indices" / "by-date").rglob("*@*")
    os.truncate(file, 2**30)
    run = measured("checkpoint", "list", "--bank", str(tmp_path))
    assert run.code == 0
    assert f"an index file cannot be read: {file.relative_to(tmp_path)} in the bank" in run.err
    assert run.resident < 150


def test_junk_as_large_as_metadata_may_be_is_told_in_bounded_memory(tmp_path):
    folder = write(WHOLE, tmp_path)
    # What takes most memory for its bytes.
    (folder / METADATA).write_bytes(b"[" + b",".join([b"[]"] * (16 * MIB // 3 - 1)) + b"]")
    run = measured("plan", WHOLE.id, "--bank", str(tmp_path))
    assert run.code == 1
    assert f"({VOLUME.id}), metadata: input should be an object" in run.out
    assert run.resident < 800


def test_metadata_that_is_too_much_in_all_is_refused(tmp_path, monkeypatch):
    sizes = [len(json.dumps(node.metadata)) for node in WHOLE.nodes if node.metadata is not None]
    monkeypatch.setattr(definitions, "_LIMIT", sum(sizes))
    assert plan_of(tmp_path).problems == ()
    monkeypatch.setattr(definitions, "_LIMIT", sum(sizes) - 1)
    with pytest.raises(
        CheckpointError, match=rf"checkpoint {WHOLE.id}: the metadata .* {sum(sizes) - 1} bytes in all"
    ):
        restore.plan(WHOLE.id, bank=tmp_path)


def test_ten_thousand_large_objects_are_refused_after_the_first_few(tmp_path):
    volumes = tuple(nodes.volume(f"v{number}") for number in range(10_000))
    folder = write(BankCheckpoint(nodes=volumes[:1]), tmp_path)
    checkpoint = BankCheckpoint(nodes=volumes)
    (folder / INDEX).write_text(json.dumps(checkpoint.index()))
    first = folder / "resource-data" / "v0"
    # Spaces, at the end, up to the limit.
    (first / "metadata").write_bytes((first / "metadata").read_bytes().ljust(16 * MIB - 1))
    for volume in volumes[1:]:
        (folder / "resource-data" / volume.id).mkdir()
        for name in ("metadata", "status"):
            os.link(first / name, folder / "resource-data" / volume.id / name)
    run = measured("plan", checkpoint.id, "--bank", str(tmp_path))
    assert run.code == 1
    assert f"the metadata of its resources has more than {64 * MIB} bytes in all: restore in parts" in run.err
    assert run.resident < 300


# What is no plain file


@pytest.mark.parametrize("name", [INDEX, METADATA, STATUS])
@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/etc/passwd"),
    ],
    ids=["pipe", "folder", "device", "loop", "file elsewhere"],
)
def test_what_is_no_plain_file_is_told_at_once(tmp_path, name, put):
    folder = write(WHOLE, tmp_path)
    (folder / name).unlink()
    put(folder / name)
    run = measured("plan", WHOLE.id, "--bank", str(tmp_path), seconds=30)
    assert run.code == 1
    assert WHOLE.id in run.err
    assert run.resident < 150


# JSON

DEEP = b"[" * 10_000 + b"]" * 10_000
NO_JSON = {
    "deep": DEEP,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "digits": b"9" * 5000,
    "nan": b'{"size": NaN}',
    "infinity": b'{"size": -Infinity}',
    "half a pair": b'{"name": "\\ud800"}',
    "half a pair in bytes": b'{"name": "\xed\xa0\x80"}',
    "nul": b'{"name": "\x00"}',
    "nothing but nul": bytes(1000),
    "control character": b'{"name": "\x1b[2J"}',
    "bom": b"\xef\xbb\xbf{}",
    "utf-16": '{"size": 1}'.encode("utf-16"),
    "utf-16 without bom": '{"size": 1}'.encode("utf-16-le"),
    "latin-1": b'{"name": "\xe9"}',
    "yaml": b"name: !!python/object:os.system",
    "two documents": b"{} {}",
    "nothing": b"",
}


@pytest.mark.parametrize("data", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_is_told_by_its_place(tmp_path, data):
    folder = write(WHOLE, tmp_path)
    index = (folder / INDEX).read_bytes()
    (folder / METADATA).write_bytes(data)
    [problem] = restore.plan(WHOLE.id, bank=tmp_path, verify=False).problems
    assert (problem.id, problem.field) == (VOLUME.id, "metadata")
    assert problem.text.startswith("it is no JSON (")
    (folder / INDEX).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"^checkpoint {WHOLE.id}: index.json is no JSON "):
        restore.plan(WHOLE.id, bank=tmp_path)
    (folder / INDEX).write_bytes(index)
    if data.isascii():
        Edited(INDEX, lambda old: old | {"resource_graph": data.decode()}).apply(folder)
        with pytest.raises(
            CheckpointError, match=f"^checkpoint {WHOLE.id}: index.json, field resource_graph is no"
        ):
            restore.plan(WHOLE.id, bank=tmp_path)


def test_json_may_be_as_deep_as_nobody_writes_it():
    assert parse_json(b"[" * 200 + b"]" * 200, "it")
    with pytest.raises(CheckpointError, match="it is no JSON"):
        parse_json(b"[" * 202 + b"]" * 202, "it")


def test_json_in_json_in_json_is_a_text(tmp_path):
    text = "{}"
    for _ in range(12):
        text = json.dumps(text)
    node = replace(VOLUME, extra_info=text)
    checkpoint = BankCheckpoint(nodes=(node,), extra_info=text)
    assert plan_of(tmp_path, checkpoint).plan.resources[0].resource.extra_info == {}


def test_of_a_name_that_is_there_twice_the_last_counts_for_everybody(tmp_path):
    folder = write(WHOLE, tmp_path)
    data = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(data[:-1] + b', "status": "error"}')
    with pytest.raises(CheckpointError, match="is 'error': only an 'available' checkpoint"):
        restore.plan(WHOLE.id, bank=tmp_path)
    with pytest.raises(CheckpointError, match=r"its newest are .* error"):
        restore.plan("latest", bank=tmp_path)


# Graphs

VOLUME_TYPE = "OS::Cinder::Volume"


def chain_of(count):
    return [[hex(number + 1), [hex(number)]] for number in range(count - 1)]


def graph_of(count, adjacency):
    return json.dumps([{hex(number): [VOLUME_TYPE, f"v{number}", ""] for number in range(count)}, adjacency])


def indexed(folder, graph):
    path = write(BankCheckpoint(nodes=(nodes.volume("v0"),)), folder)
    Edited(INDEX, lambda old: old | {"resource_graph": graph}).apply(path)
    return BankCheckpoint(nodes=()).id


@pytest.mark.parametrize(
    ("count", "adjacency", "reason"),
    [
        (100_001, [], "it has 100001 nodes, more than the 100000 that are restored at once"),
        (2000, [[hex(1999), [hex(0)] * 1_000_001]], "it has more than the 1000000 edges"),
    ],
    ids=["nodes", "edges"],
)
def test_a_graph_that_is_too_large_is_refused(tmp_path, count, adjacency, reason):
    run = measured("plan", indexed(tmp_path, graph_of(count, adjacency)), "--bank", str(tmp_path))
    assert run.code == 1
    assert "index.json, field resource_graph: " in run.err
    assert reason in run.err
    assert len(run.err) < 1000
    assert run.resident < 600


def parsed(graph):
    checkpoint = BankCheckpoint(nodes=())
    return parse_checkpoint(checkpoint.id, json.dumps(checkpoint.index() | {"resource_graph": graph}).encode())


@pytest.mark.parametrize(
    "adjacency",
    [
        chain_of(100_000),
        [[hex(99_999), [hex(number) for number in range(99_999)]]],
        # A million edges.
        [[hex(number), [hex(number - step) for step in range(1, 11)]] for number in range(10, 100_000)],
    ],
    ids=["chain", "star", "dense"],
)
def test_a_graph_of_a_hundred_thousand_is_read(adjacency):
    graph = parsed(graph_of(100_000, adjacency)).restorable_graph()
    assert len(graph.order()) == 100_000
    assert sum(map(len, graph.children.values())) == sum(len(children) for _, children in adjacency)


def test_a_cycle_through_a_hundred_thousand_is_told_by_its_beginning_and_end():
    with pytest.raises(GraphError, match=r"the resource graph has a cycle: .* -> \(99901 more\) -> ") as raised:
        parsed(graph_of(100_000, [*chain_of(100_000), ["0x0", [hex(99_999)]]]))
    assert len(str(raised.value)) < 10_000


# Texts that steer

ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\nrestore is complete\u202e\u2028\x9b31m"


@pytest.fixture
def ran(capsys):
    """Give a function that runs the program in this process: exit code, and all that it printed."""
    root = logging.getLogger()
    before = list(root.handlers)

    def run(*arguments):
        code = main(list(arguments))
        root.handlers[:] = before
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def harmless(text):
    """Say whether nothing in what was printed can steer a terminal."""
    return all(character.isprintable() for line in text.split("\n") for character in line)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", ESCAPES, "x" * 255, "{get_file: /etc/passwd}"]
)
def test_names_are_shown_harmlessly(tmp_path, ran, name):
    renamed = tuple(replace(node, name=name) for node in WHOLE.nodes)
    checkpoint = replace(WHOLE, nodes=renamed, plan_name=name)
    write(checkpoint, tmp_path)
    for command in (["plan", WHOLE.id], ["checkpoint", "show", WHOLE.id], ["checkpoint", "list"]):
        code, out, err = ran(*command, "--bank", str(tmp_path))
        assert code == 0, err
        assert harmless(out + err)
        assert "restore is complete" not in (out + err).splitlines()


@pytest.mark.parametrize(
    "damage",
    [
        Edited(METADATA, lambda old: old | {"backup_id": ESCAPES}),
        Edited(METADATA, lambda _: {ESCAPES: ESCAPES}),
        Edited(data_of(SERVER.id, "metadata"), lambda old: old | {"attach_metadata": {ESCAPES: None}}),
        Edited(data_of(NETWORK.id, "metadata"), lambda old: old | {"port_metadata": {ESCAPES: {"id": ESCAPES}}}),
        Edited(data_of(NETWORK.id, "metadata"), lambda old: old | {"subnet_metadata": {ESCAPES * 999: {}}}),
        Edited(INDEX, lambda old: old | {"status": ESCAPES}),
        Edited(INDEX, lambda old: old | {"version": ESCAPES}),
        Edited(INDEX, lambda old: old | {"id": ESCAPES}),
        Edited(INDEX, lambda old: old | {"id": "x" * MIB}),
        Edited(INDEX, lambda old: old | {"resource_graph": json.dumps([{ESCAPES: [1, 2, 3]}, []])}),
        Edited(INDEX, lambda old: old | {"resource_graph": json.dumps([{"0x0": [ESCAPES, "v", ""]}, []])}),
        Edited(INDEX, lambda old: old | {"resource_graph": json.dumps([{"0x0": ["T", ESCAPES, ""]}, []])}),
        Edited(INDEX, lambda old: old | {"resource_graph": json.dumps([{"0x0": ["T", "v", "x" * MIB]}, []])}),
        Edited(
            INDEX, lambda old: old | {"resource_graph": json.dumps([{"0x0": ["T", "v", ""]}, [[ESCAPES, []]]])}
        ),
    ],
)
def test_what_is_wrong_is_told_harmlessly(tmp_path, ran, redis_url, damage):
    write(WHOLE, tmp_path, [damage])
    for command in ("plan", "submit"):
        code, out, err = ran(command, WHOLE.id, "--bank", str(tmp_path))
        assert code == 1
        assert WHOLE.id in err
        assert harmless(out + err)
        assert len(err) < 1000
        assert "bug" not in err
    assert restore.list_restores() == []


@given(st.text())
def test_what_is_printable_is_on_one_line(text):
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


# What names things

ODD = [
    *("", " ", ".", "..", "../..", "/", "/etc/passwd", "{}", "a:b", "a\nb", "\x00", "\ud800", "restore:{x}:record", "*"),
    *("latest:", "latest:..", "latest:../..", "latest:\x00", "latest:x/y", "latest:*", ":latest", "latest:latest:"),
    *("@", "x@", "@2020", "x@2020-13-45", "x@2020-01-01T99", "x@0001-01-01T00:00+23:59", "x@9999-12-31T23:59-23:59"),
    *("x@2020-01-01\n", "x@\u0662\u0660\u0662\u0660-01-01", "webapp@2020-01-01T00:00:00.0000000000001", "x" * MIB, ESCAPES),
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=itertools.count())
def test_an_odd_reference_to_a_checkpoint_is_told(tmp_path, name):
    write(WHOLE, tmp_path)
    with pytest.raises(RestoreError) as raised:
        make_plan(open_bank(str(tmp_path)), name)
    assert printable(str(raised.value)) == str(raised.value)


@given(name=st.text() | st.sampled_from(ODD), kind=st.sampled_from(["{}", "latest:{}", "{}@2020-01-01", "x@{}"]))
def test_any_reference_to_a_checkpoint_is_told(samples, name, kind):
    with pytest.raises(RestoreError):
        make_plan(samples, kind.format(name))


@pytest.mark.parametrize("name", ODD, ids=itertools.count())
def test_an_odd_id_of_a_restore_is_unknown(redis_url, name):
    with pytest.raises(UnknownRestoreError) as raised:
        restore.get(name)
    assert len(str(raised.value)) < 300
    assert printable(str(raised.value)) == str(raised.value)


@pytest.mark.parametrize("verb", ["show", "watch", "resume", "cancel", "destroy", "forget", "template"])
def test_every_command_checks_the_id(redis_url, ran, verb):
    code, out, err = ran(verb, "../..}:record")
    assert (code, out) == (1, "")
    assert err == "'../..}:record' is no id of a restore: `restore-worker list` shows them\n"


@pytest.mark.parametrize(
    "parameters",
    [5, "x", ["OS::Nova::Server"], {5: {}}, {"OS::Nova::Server": 5}, {"OS::Nova::Server": {5: 5, "x": 5}}],
    ids=str,
)
def test_parameters_of_another_form_are_told(tmp_path, parameters):
    write(WHOLE, tmp_path)
    with pytest.raises(ParameterError, match="parameters are values by name by TYPE or TYPE#ID, such as"):
        restore.plan(WHOLE.id, bank=tmp_path, parameters=parameters)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.binary()


@given(data=st.data(), value=VALUES | st.dictionaries(st.text(), VALUES))
def test_any_value_of_a_parameter_is_told_or_taken(samples, data, value):
    resource_type = data.draw(st.sampled_from(["OS::Nova::Server", "OS::Cinder::Volume", "OS::Neutron::Network"]))
    name = data.draw(st.sampled_from(sorted(installed()[resource_type].Parameters.model_fields)) | st.text())
    plan = make_plan(samples, WHOLE.id, parameters={resource_type: {name: value}})
    for problem in plan.problems:
        assert "broke:" not in problem.text
        assert printable(str(problem)) == str(problem)


@given(st.text())
def test_any_url_of_a_bank_is_told(text):
    for url in (text, f"file://{text}", f"file:///%00{text}", f"s3:/{text}", f"gopher://{text}"):
        with pytest.raises(BankError):
            open_bank(url)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    write(WHOLE, folder)
    return open_bank(str(folder))
