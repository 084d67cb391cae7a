"""Karbor's banks for tests, written the way Karbor 1.6 writes them on a file system, and broken on purpose.

A `BankCheckpoint` describes one checkpoint, `write` puts it into a bank, a `Damage` then breaks what was written.
Nodes of the real resource types are in `tests.support.nodes`, whole tenants in `tests.support.tenants`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from restore_worker.resource import ResourceKey

INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the resource graph, with what the bank keeps of it.

    extra_info: None, an object, or JSON text (as for nodes that a plan names).
    metadata: written as JSON, bytes as they are; None: the bank has none.
    status: None: ``available`` with metadata, no folder without.
    chunks: contents of ``data_1``, ``data_2``, ...
    """

    type: str
    id: str
    name: str | None = ""
    extra_info: Mapping[str, Any] | str | None = None
    metadata: Any = None
    status: str | None = None
    chunks: tuple[bytes, ...] = ()

    @property
    def key(self) -> ResourceKey:
        """Identity of the node."""
        return ResourceKey(self.type, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCheckpoint:
    """One checkpoint of a bank.

    nodes: in the order of their labels; Karbor numbers children before parents.
    edges: children by parent.
    extra_info: JSON text, an object, or None.
    """

    nodes: tuple[Node, ...]
    edges: Mapping[ResourceKey, tuple[ResourceKey, ...]] = field(default_factory=dict)
    id: str = "11111111-0000-4000-8000-000000000001"
    status: str = "available"
    version: str = "0.9"
    project_id: str = "0123456789abcdef0123456789abcdef"
    provider_id: str = "22222222-0000-4000-8000-000000000001"
    plan_id: str = "33333333-0000-4000-8000-000000000001"
    plan_name: str = "nightly"
    created: datetime = datetime(2020, 3, 5, 2, 0, 7, tzinfo=UTC)
    extra_info: Mapping[str, Any] | str | None = '{"created_by": "manual"}'

    @property
    def timestamp(self) -> int:
        """Time of creation in whole seconds since 1970, UTC."""
        return int(self.created.timestamp())

    def resource_graph(self) -> str:
        """Return the graph as Karbor writes it: JSON text of nodes by label and the adjacency list."""
        labels = {node.key: hex(number) for number, node in enumerate(self.nodes)}
        nodes = {hex(number): [n.type, n.id, n.name, n.extra_info] for number, n in enumerate(self.nodes)}
        adjacency = [
            [labels[node.key], [labels[child] for child in self.edges[node.key]]]
            for node in self.nodes
            if self.edges.get(node.key)
        ]
        return json.dumps([nodes, adjacency])

    def index(self) -> dict[str, Any]:
        """Return what ``index.json`` holds."""
        children = {child for found in self.edges.values() for child in found}
        plan = {
            "id": self.plan_id,
            "name": self.plan_name,
            "provider_id": self.provider_id,
            "resources": [
                {"id": node.id, "type": node.type, "name": node.name, "extra_info": None}
                for node in self.nodes
                if node.key not in children
            ],
        }
        return {
            "version": self.version,
            "id": self.id,
            "status": self.status,
            "owner_id": "44444444-0000-4000-8000-000000000001",
            "provider_id": self.provider_id,
            "project_id": self.project_id,
            "protection_plan": plan,
            "extra_info": self.extra_info,
            "created_at": self.created.strftime("%Y-%m-%d"),
            "timestamp": self.timestamp,
            "resource_graph": self.resource_graph(),
        }


def chunked(data: bytes, size: int, python: int = 2) -> tuple[bytes, ...]:
    """Return ``data`` as the contents of Karbor's chunks of ``size`` bytes.

    python: 2 writes the bytes themselves; 3 writes each chunk as a JSON string of its UTF-8 text, and the last one
        even if it is empty.
    """
    if python == 2:
        return tuple(data[start : start + size] for start in range(0, len(data), size))
    parts = [data[start : start + size] for start in range(0, len(data) + 1, size)]
    return tuple(json.dumps(part.decode()).encode() for part in parts)


class Damage(Protocol):
    """Something done to a checkpoint after it was written."""

    def apply(self, folder: Path) -> None:
        """Break what is in the folder of the checkpoint."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """An object lost its second half, or what is beyond ``keep`` bytes."""

    name: str
    keep: int | None = None

    def apply(self, folder: Path) -> None:
        data = (folder / self.name).read_bytes()
        (folder / self.name).write_bytes(data[: len(data) // 2 if self.keep is None else self.keep])


@dataclass(frozen=True, slots=True)
class Missing:
    """An object is gone."""

    name: str

    def apply(self, folder: Path) -> None:
        (folder / self.name).unlink()


@dataclass(frozen=True, slots=True)
class Edited:
    """A JSON object was changed by ``change``, which takes the old document and returns the new one."""

    name: str
    change: Callable[[Any], Any]

    def apply(self, folder: Path) -> None:
        document = json.loads((folder / self.name).read_bytes())
        (folder / self.name).write_text(json.dumps(self.change(document)))


@dataclass(frozen=True, slots=True)
class Cycle:
    """Each of the nodes got an edge to the next, and the last one to the first; one node alone: a self loop."""

    keys: tuple[ResourceKey, ...]

    def apply(self, folder: Path) -> None:
        Edited(INDEX, self._close).apply(folder)

    def _close(self, index: dict[str, Any]) -> dict[str, Any]:
        nodes, adjacency = json.loads(index["resource_graph"])
        labels = {(node[0], node[1]): label for label, node in nodes.items()}
        for parent, child in zip(self.keys, (*self.keys[1:], self.keys[0]), strict=True):
            adjacency.append([labels[parent], [labels[child]]])
        return index | {"resource_graph": json.dumps([nodes, adjacency])}


def data_of(resource_id: str, name: str) -> str:
    """Return the name, within a checkpoint, of an object of a resource: ``metadata``, ``status``, ``data_1``..."""
    return f"resource-data/{resource_id}/{name}"


def write(checkpoint: BankCheckpoint, bank: Path, damage: Iterable[Damage] = (), *, indices: bool = True) -> Path:
    """Write the checkpoint, then damage it in the order given; return the folder of the checkpoint.

    bank: Karbor's container; it is made if needed and may hold other checkpoints.
    indices: False leaves the index files out, as for a deleted checkpoint.
    """
    folder = bank / "checkpoints" / checkpoint.id
    folder.mkdir(parents=True)
    (folder / INDEX).write_text(json.dumps(checkpoint.index()))
    for node in checkpoint.nodes:
        _write_data(node, folder / "resource-data" / node.id)
    if indices:
        _write_indices(checkpoint, bank / "indices")
    for each in damage:
        each.apply(folder)
    return folder


def _write_data(node: Node, folder: Path) -> None:
    status = node.status or ("available" if node.metadata is not None else None)
    if status is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_bytes(status.encode())
    if node.metadata is not None:
        raw = node.metadata if isinstance(node.metadata, bytes) else json.dumps(node.metadata).encode()
        (folder / "metadata").write_bytes(raw)
    for number, chunk in enumerate(node.chunks, start=1):
        (folder / f"data_{number}").write_bytes(chunk)


def _write_indices(checkpoint: BankCheckpoint, indices: Path) -> None:
    day = checkpoint.created.strftime("%Y-%m-%d")
    for folder in (
        indices / "by-provider" / checkpoint.provider_id / checkpoint.project_id,
        indices / "by-date" / day / checkpoint.project_id,
        indices / "by-plan" / checkpoint.plan_id / checkpoint.project_id / day,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{checkpoint.timestamp}@{checkpoint.id}").write_text(checkpoint.id)
