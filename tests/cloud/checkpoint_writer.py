"""Writes checkpoints in Karbor's format 0.9 into a directory, as Karbor's file system bank does.

An object whose value is text or bytes is written as it is, any other as JSON; see `CheckpointWriter` for the order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

CONTAINER = "karbor"


class GraphNode(NamedTuple):
    """A resource in the graph.

    extra_info: JSON text for a resource that the plan names, an object for others.
    """

    type: str
    id: str
    name: str | None
    extra_info: Mapping[str, str] | str | None = None


@dataclass
class Graph:
    """Resources, and which of them depend on which; children are added before their parents.

    A resource that is added again stays what it was at first.
    """

    nodes: dict[tuple[str, str], GraphNode] = field(default_factory=dict)
    children: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, node: GraphNode, children: Iterable[GraphNode] = ()) -> None:
        """Add the children and then the node that depends on them."""
        for child in children:
            self.nodes.setdefault(child[:2], child)
            self.children.setdefault(node[:2], []).append(child[:2])
        self.nodes.setdefault(node[:2], node)

    @property
    def roots(self) -> list[GraphNode]:
        """The nodes that no other depends on: those that a plan names."""
        depended_on = {child for children in self.children.values() for child in children}
        return [node for key, node in self.nodes.items() if key not in depended_on]

    def text(self) -> str:
        """Return it as JSON: nodes by label, and an adjacency list."""
        labels = {key: hex(number) for number, key in enumerate(self.nodes)}
        adjacency = [
            [labels[key], [labels[child] for child in self.children[key]]]
            for key in self.nodes
            if key in self.children
        ]
        return json.dumps([{labels[key]: node for key, node in self.nodes.items()}, adjacency])


class Header(NamedTuple):
    """What a checkpoint says of itself.

    roots: the resources that the plan names.
    """

    project_id: str
    plan_id: str
    plan_name: str
    provider_id: str
    roots: Sequence[GraphNode]


class Stored(NamedTuple):
    """Bytes in the bank: how many chunks, and the MD5 of all of them in lower-case hex."""

    chunks: int
    checksum: str


class CheckpointWriter:
    """One checkpoint that is being written.

    ``protecting`` until all of it is there, then ``available``; `writing` makes it ``error`` if that never comes.

    bank: Karbor's file_system_bank_path; it is made if needed and may hold other checkpoints.
    """

    def __init__(self, bank: Path, header: Header) -> None:
        self.id = str(uuid.uuid4())
        self._header = header
        self._created = datetime.now(UTC)
        self._container = bank / CONTAINER
        self._folder = self._container / "checkpoints" / self.id
        self._write_index("protecting", None)
        for folder in self._index_folders():
            _write(folder / f"{int(self._created.timestamp())}@{self.id}", self.id)

    def metadata(self, resource_id: str, metadata: Mapping[str, Any]) -> None:
        """Write a resource's metadata; its bytes, if it has any, are there already."""
        folder = self._folder / "resource-data" / resource_id
        _write(folder / "status", "protecting")
        _write(folder / "metadata", json.dumps(metadata))
        _write(folder / "status", "available")

    def chunks(self, resource_id: str, data: Iterable[bytes], size: int) -> Stored:
        """Write a resource's bytes in chunks of ``size`` bytes, holding one of them in memory."""
        folder = self._folder / "resource-data" / resource_id
        _write(folder / "status", "protecting")
        checksum = hashlib.md5(usedforsecurity=False)
        number = 0
        for number, chunk in enumerate(_cut(data, size), start=1):
            checksum.update(chunk)
            (folder / f"data_{number}").write_bytes(chunk)
        return Stored(number, checksum.hexdigest())

    def finish(self, graph: Graph) -> None:
        """Write the graph, and that the checkpoint can be restored."""
        self._write_index("available", graph.text())

    def fail(self) -> None:
        """Write that the checkpoint cannot be restored."""
        self._write_index("error", None)

    def _write_index(self, status: str, graph: str | None) -> None:
        header = self._header
        plan = {
            "id": header.plan_id,
            "name": header.plan_name,
            "provider_id": header.provider_id,
            "resources": [
                {"id": root.id, "type": root.type, "name": root.name, "extra_info": root.extra_info}
                for root in header.roots
            ],
        }
        index = {
            "version": "0.9",
            "id": self.id,
            "status": status,
            "owner_id": str(uuid.uuid4()),
            "provider_id": header.provider_id,
            "project_id": header.project_id,
            "protection_plan": plan,
            "extra_info": json.dumps({"created_by": "manual"}),
            "created_at": self._day,
            "timestamp": int(self._created.timestamp()),
        }
        _write(
            self._folder / "index.json", json.dumps(index | ({} if graph is None else {"resource_graph": graph}))
        )

    @property
    def _day(self) -> str:
        return self._created.strftime("%Y-%m-%d")

    def _index_folders(self) -> Iterator[Path]:
        header, indices = self._header, self._container / "indices"
        yield indices / "by-provider" / header.provider_id / header.project_id
        yield indices / "by-date" / self._day / header.project_id
        yield indices / "by-plan" / header.plan_id / header.project_id / self._day


@contextlib.contextmanager
def writing(bank: Path, header: Header) -> Iterator[CheckpointWriter]:
    """Give a new checkpoint to write; whatever is raised inside marks it as failed."""
    checkpoint = CheckpointWriter(bank, header)
    try:
        yield checkpoint
    except BaseException:
        checkpoint.fail()
        raise


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _cut(data: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of ``size``, the last one maybe shorter."""
    rest = bytearray()
    for part in data:
        rest += part
        while len(rest) >= size:
            yield bytes(rest[:size])
            del rest[:size]
    if rest:
        yield bytes(rest)
