"""What processes and Redis take: memory, files, keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import redis


class Footprint(NamedTuple):
    """What one process takes.

    resident: bytes, those that it shares included.
    proportional: bytes, those that it shares divided by who shares them.
    files: open ones, sockets included.
    """

    resident: int
    proportional: int
    files: int


def footprints(pid: int) -> dict[int, Footprint]:
    """Return what a process and all below it take, by process id, the parent first."""
    found = {pid: _footprint(pid)}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= footprints(int(child))
    return found


def _footprint(pid: int) -> Footprint:
    sizes = Path(f"/proc/{pid}/smaps_rollup").read_text()
    resident, proportional = (
        int(re.search(rf"^{name}:\s+(\d+) kB$", sizes, re.MULTILINE)[1]) for name in ("Rss", "Pss")
    )
    return Footprint(resident * 1024, proportional * 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))


class Store(NamedTuple):
    """What Redis holds. memory: bytes that it counts as used."""

    keys: int
    memory: int


def stored(client: redis.Redis) -> Store:
    """Return what Redis holds now."""
    return Store(client.dbsize(), client.info("memory")["used_memory"])
