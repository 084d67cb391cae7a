"""What a restore sends to Redis; it does not depend on the machine."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import redis

from benchmarks import stage
from benchmarks.graphs import random_graph
from benchmarks.noop import noop
from benchmarks.table import Row
from restore_worker.ledger_reader import keys_of

T = TypeVar("T")

SIZES = (100, 1000, 10_000)
_END = b"benchmarks:end"
_PUBLISHED = re.compile(rb'"LPUSH" "(?:restore|transfer)(?:\\x06\\x16\d)?" "(.*)"', re.IGNORECASE)
_ESCAPED = re.compile(rb"\\(?:x..|.)")


@dataclass(slots=True)
class Traffic:
    """What Redis was told. scripted: commands that scripts gave."""

    published_bytes: int = 0
    commands: int = 0
    scripted: int = 0


def measure(client: redis.Redis) -> Iterator[Row]:
    """Count during one restore of each size, and during a Celery group."""
    with stage.workers("prefork", stage.CORES):
        for size in SIZES:
            with tempfile.TemporaryDirectory() as scratch:
                bank = random_graph(size).save(Path(scratch))
                done, seen = _watched(client, functools.partial(stage.run, bank))
            kept = sum(client.memory_usage(key, samples=0) or 0 for key in keys_of(done.id).values())
            yield Row(
                f"message bytes per resource, {size} resources", f"{seen.published_bytes / size:.0f}", "flat"
            )
            yield Row("... bytes in Redis once it is complete", f"{kept / size:.0f}", "flat")
        each, scripted = seen.commands / size, seen.scripted / size
        yield Row("Redis commands per resource", f"{each:.1f}, and {scripted:.1f} within scripts")
        _, seen = _watched(client, functools.partial(stage.run_group, noop, size, client))
        yield Row("Redis commands per task of a plain Celery group", f"{seen.commands / size:.1f}")


def _watched(client: redis.Redis, act: Callable[[], T]) -> tuple[T, Traffic]:
    traffic = Traffic()
    with client.monitor() as monitor:
        done = act()
        client.echo(_END)
        # Redis kept all for us meanwhile.
        while _END not in (line := monitor.connection.read_response()):
            if b" lua] " in line[:40]:
                traffic.scripted += 1
                continue
            traffic.commands += 1
            if published := _PUBLISHED.search(line):
                traffic.published_bytes += len(_ESCAPED.sub(b".", published[1]))
    return done, traffic
