"""What is fuzzed: each target takes any bytes and lets nothing out but errors raised on purpose."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from restore_worker.bank import Bank, Stat, Value, read_chunks
from restore_worker.bank.contract import PIECE, check_key, check_size, is_key
from restore_worker.catalogue import list_checkpoints, resolve
from restore_worker.checkpoint import parse_checkpoint
from restore_worker.errors import MissingObjectError, RestoreError, printable
from restore_worker.hot import Hot
from restore_worker.plan import make_plan
from restore_worker.registry import installed
from restore_worker.render import render
from tests.support.banks import BankCheckpoint, chunked
from tests.support.sample_banks import SAMPLES
from tests.support.tenants import tenant

WHOLE = tenant(servers=2, volumes_per_server=1, networks=1, images=1, seed=5)
_INDEX = f"checkpoints/{WHOLE.id}/index.json"


class MemoryBank:
    """A bank of objects by key."""

    url = "file:///memory"
    readers = 1

    def __init__(
        self, objects: Mapping[str, bytes], piece: int = PIECE, *, serialized: bool | None = None
    ) -> None:
        self._objects = objects
        self._piece = piece
        self._serialized = serialized

    def stat(self, key: str) -> Stat:
        """Return the size of an object."""
        if check_key(key) not in self._objects:
            raise MissingObjectError(f"the bank {self.url} has no object {key}")
        return Stat(len(self._objects[key]), self._serialized)

    def read(self, key: str, limit: int | None = None) -> Value:
        """Return an object."""
        check_size(self.url, key, self.stat(key).size, limit)
        return Value(self._objects[key], self._serialized)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces."""
        data = self.read(key, PIECE).data
        yield from (data[start : start + self._piece] for start in range(0, len(data), self._piece))

    def list(self, folder: str) -> Iterator[str]:
        """Yield the keys below a folder."""
        return (key for key in self._objects if key.startswith(f"{folder}/") and is_key(key))

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the folders in a folder."""
        return iter({key.removeprefix(f"{folder}/").partition("/")[0] for key in self.list(folder)})


def objects_of(checkpoint: BankCheckpoint) -> dict[str, bytes]:
    """Return what a bank has of the checkpoint, by key."""
    base = f"checkpoints/{checkpoint.id}"
    objects = {f"{base}/index.json": json.dumps(checkpoint.index()).encode()}
    for node in checkpoint.nodes:
        folder = f"{base}/resource-data/{node.id}"
        if node.metadata is not None:
            objects[f"{folder}/metadata"] = json.dumps(node.metadata).encode()
            objects[f"{folder}/status"] = b"available"
        objects |= {f"{folder}/data_{number}": chunk for number, chunk in enumerate(node.chunks, 1)}
    return objects


_OBJECTS = objects_of(WHOLE)
_KEPT = [node for node in WHOLE.nodes if node.metadata is not None]


def checkpoint(data: bytes) -> None:
    """Read index.json."""
    with suppress(RestoreError):
        parse_checkpoint(WHOLE.id, data).restorable_graph()


def graph(data: bytes) -> None:
    """Read the text of a resource graph."""
    with suppress(RestoreError, UnicodeDecodeError):
        document = WHOLE.index() | {"resource_graph": data.decode()}
        parse_checkpoint(WHOLE.id, json.dumps(document).encode()).restorable_graph()


def catalogue(data: bytes) -> None:
    """List a bank with any index.json and look for the newest checkpoint."""
    index = "indices/by-date/2020-03-05/p/1583373607@" + WHOLE.id
    bank: Bank = MemoryBank({_INDEX: data, index: data[:64]})
    for sentence in list_checkpoints(bank).disagreements:
        assert "Traceback" not in sentence
    for name in ("latest", "latest:nightly", "nightly@2020-03-05"):
        with suppress(RestoreError):
            resolve(bank, name)


def metadata(data: bytes) -> None:
    """Plan and render a checkpoint with any metadata of one resource; the first byte says of which."""
    node = _KEPT[(data[0] if data else 0) % len(_KEPT)]
    bank: Bank = MemoryBank({**_OBJECTS, f"checkpoints/{WHOLE.id}/resource-data/{node.id}/metadata": data[1:]})
    rendering = render(make_plan(bank, WHOLE.id), verify=False)
    for problem in rendering.problems:
        assert "broke:" not in problem.text, problem
        assert printable(str(problem)) == str(problem)
    if rendering.hots:
        check_functions(rendering.hots[0])


def chunks(data: bytes) -> None:
    """Decode a chunk that comes in pieces of a few bytes, whatever its mark says; the first two bytes choose."""
    piece, mark = (*data[:2], 1, 1)[:2]
    key = "checkpoints/c/resource-data/r/data_1"
    bank: Bank = MemoryBank({key: data[2:]}, piece % 17 + 1, serialized=(True, False, None)[mark % 3])
    with suppress(RestoreError):
        whole = b"".join(read_chunks(bank, "c", "r", 1, hashlib.md5(data[2:]).hexdigest()))
        assert whole == data[2:]


def request(data: bytes) -> None:
    """Plan with any reference, selectors and parameters, in lines."""
    name, selector, target, key, value = (*data.decode("utf-8", "surrogateescape").split("\n"), *[""] * 5)[:5]
    for reference in (name, WHOLE.id):
        with suppress(RestoreError):
            plan = make_plan(
                MemoryBank(_OBJECTS),
                reference,
                resources=[selector] if selector else None,
                parameters={target: {key: value}} if target else None,
            )
            for problem in plan.problems:
                assert "broke:" not in problem.text, problem


def check_functions(hot: Hot) -> None:
    """AssertionError unless Heat finds in the template only functions that the engine puts."""
    document = yaml.load(hot.text, Loader=yaml.CSafeLoader)
    named = {"get_resource": document["resources"], "get_param": document.get("parameters", {})}
    pending: list[Any] = [each["properties"] for each in document["resources"].values()]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            [*names] = value
            if len(names) == 1 and names[0] in named:
                assert value[names[0]] in named[names[0]]
            else:
                assert not (len(names) == 1 and (names[0].startswith("Fn::") or names[0] in FUNCTIONS)), value
                pending += value.values()


# All of HOT's, of every version.
FUNCTIONS = frozenset(
    [
        "and",
        "contains",
        "digest",
        "equals",
        "filter",
        "get_attr",
        "get_file",
        "get_param",
        "get_resource",
        "if",
        "list_concat",
        "list_concat_unique",
        "list_join",
        "make_url",
        "map_merge",
        "map_replace",
        "not",
        "or",
        "repeat",
        "resource_facade",
        "str_replace",
        "str_replace_strict",
        "str_replace_vstrict",
        "str_split",
        "yaql",
        "Ref",
    ]
)
Target = Callable[[bytes], None]
TARGETS: Mapping[str, Target] = {
    each.__name__: each for each in (checkpoint, graph, catalogue, metadata, chunks, request)
}


@functools.cache
def seeds(name: str) -> Sequence[bytes]:
    """Return inputs of a target that are as Karbor and users write them."""
    folders = [sample.bank / "karbor" / "checkpoints" / sample.checkpoint for sample in SAMPLES]
    indices = [(folder / "index.json").read_bytes() for folder in folders]
    if name in ("checkpoint", "catalogue"):
        return [_OBJECTS[_INDEX], *indices]
    if name == "graph":
        return [
            WHOLE.resource_graph().encode(),
            *(json.loads(each)["resource_graph"].encode() for each in indices),
        ]
    if name == "metadata":
        own = [bytes([place]) + json.dumps(node.metadata).encode() for place, node in enumerate(_KEPT)]
        return [*own, *(b"\0" + path.read_bytes() for folder in folders for path in _metadata(folder))]
    if name == "chunks":
        text = 'é\n"\\\N{GRINNING FACE}' * 9
        return [bytes([7, mark]) + each for mark in range(3) for each in chunked(text.encode(), 39 * 8, 3)]
    volume, server = (next(node for node in WHOLE.nodes if kind in node.type) for kind in ("Volume", "Server"))
    lines = [
        ("latest", volume.id, volume.type, "restore_name", "x"),
        ("latest:nightly", str(server.key), str(server.key), "restore_flavor_id", "2"),
        ("nightly@2020-03-05T12:00", server.type, server.type, "floating_ip_ports", "10.0.0.3,x"),
        *(
            (WHOLE.id, "", resource_type, field, "1")
            for resource_type in installed().types
            for field in installed()[resource_type].Parameters.model_fields
        ),
    ]
    return ["\n".join(each).encode() for each in lines]


def _metadata(folder: Path) -> list[Path]:
    return sorted(folder.glob("resource-data/*/metadata"))
