"""Restores of the stranger's resources, which do what their metadata says: see tests/support/stranger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from restore_worker import registry, restore
from tests.support import banks
from tests.support.banks import BankCheckpoint, Node

STRANGER = Path(__file__).parent / "stranger"
TYPE = "Test::Step"
BRITTLE = "Test::Brittle"
# By index, what the metadata says of it; the others are just done.
Told = Mapping[int, Mapping[str, Any]]


def checkpoint(children: Sequence[Sequence[int]], told: Told | None = None) -> BankCheckpoint:
    """Return a checkpoint of steps ``s0``, ``s1``, ...; ``children`` says by index what each depends on.

    told: also the type, where it is another. Those of which ``chunks`` are told have these in the bank, a few bytes each.
    """
    nodes = tuple(_node(index, dict((told or {}).get(index, {}))) for index in range(len(children)))
    edges = {
        nodes[parent].key: tuple(nodes[index].key for index in found) for parent, found in enumerate(children)
    }
    return BankCheckpoint(nodes=nodes, edges=edges)


def _node(index: int, metadata: dict[str, Any]) -> Node:
    type_, chunks = metadata.pop("type", TYPE), (b"bytes",) * metadata.get("chunks", 0)
    if chunks:
        metadata["checksum"] = md5(b"".join(chunks), usedforsecurity=False).hexdigest()
    return Node(type_, f"s{index}", f"step {index}", None, metadata, chunks=chunks)


@contextmanager
def installed(log: Path) -> Iterator[None]:
    """Have the stranger's package installed here, and in processes that are started now, which log to a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STRANGER))
        patch.setenv("PYTHONPATH", str(STRANGER), prepend=":")
        patch.setenv("STRANGER_LOG", str(log))
        log.mkdir()
        registry.installed.cache_clear()
        yield
    registry.installed.cache_clear()


@dataclass
class Steps:
    """Submits restores of steps; every one has a bank of its own.

    folder: where the banks are, and in ``log`` what was called.
    """

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def write(self, children: Sequence[Sequence[int]], told: Told | None = None) -> Path:
        """Write a bank with one checkpoint; its folder."""
        bank = self.folder / f"bank{next(self._numbers)}"
        banks.write(checkpoint(children, told), bank / "karbor")
        return bank

    def submit(self, children: Sequence[Sequence[int]], told: Told | None = None) -> restore.Restore:
        """Write a bank and submit its checkpoint."""
        return restore.submit("latest", bank=self.write(children, told))

    def calls(self, restore_id: str) -> list[str]:
        """Return the ids of the resources whose plugin was called for a restore, in order, once for each call."""
        log = self.folder / "log" / restore_id
        return log.read_text().split() if log.exists() else []
