"""Tasks per second: a restore, a plain Celery group in the same worker, and TaskFlow's parallel engine."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from benchmarks import stage, taskflow_engine
from benchmarks.graphs import random_graph
from benchmarks.noop import noop, noop_with_result
from benchmarks.table import Row
from restore_worker.states import RestoreState

SIZE = 600
REPEATS = 5
THREADS = 8
SIZES = (100, 1000, 10_000)


def measure(client: redis.Redis) -> Iterator[Row]:
    """Run all of them in turn, several times, in both kinds of worker; medians. Then restores of other sizes."""
    with tempfile.TemporaryDirectory() as scratch:
        bank = random_graph(SIZE).save(Path(scratch))
        for pool, concurrency in (("prefork", stage.CORES), ("threads", THREADS)):
            with stage.workers(pool, concurrency):
                yield from _beside_others(client, bank, f"{concurrency} {pool.removeprefix('pre').rstrip('s')}s")
    with stage.workers("prefork", stage.CORES):
        for size in SIZES:
            with tempfile.TemporaryDirectory() as scratch:
                bank = random_graph(size).save(Path(scratch))
                each = statistics.median(_restore(bank) for _ in range(3)) / size
            yield Row(f"time per resource, {size} resources", f"{each * 1000:.2f} ms", "flat")


def _beside_others(client: redis.Redis, bank: Path, where: str) -> Iterator[Row]:
    ours, kept, parts, ignored, taskflow = _tasks_per_second(
        lambda: _restore(bank),
        lambda: stage.run_group(noop_with_result, SIZE, client),
        lambda: stage.run_chord(noop_with_result, SIZE),
        lambda: stage.run_group(noop, SIZE, client),
        lambda: taskflow_engine.run(bank, stage.CORES),
    )
    yield Row(f"restore of {SIZE} resources, {where}", f"{ours:.0f} tasks/s")
    yield Row("... to a plain Celery group", f"{ours / kept:.2f} of {kept:.0f} tasks/s", ">= 0.9")
    yield Row("... to a plain Celery chord", f"{ours / parts:.2f} of {parts:.0f} tasks/s", ">= 0.9")
    yield Row("... to a group that tells nobody when it is done", f"{ours / ignored:.2f} of {ignored:.0f} tasks/s")
    yield Row("... to TaskFlow's parallel engine", f"{ours / taskflow:.1f} times {taskflow:.0f} tasks/s")


def _tasks_per_second(*ways: Callable[[], float]) -> list[float]:
    """Return the median of each way; they take turns, and the first turn only warms up."""
    turns = [[way() for way in ways] for _ in range(1 + REPEATS)]
    return [SIZE / statistics.median(seconds) for seconds in zip(*turns[1:], strict=True)]


def _restore(bank: Path) -> float:
    """Return the seconds from the first write to the template; planning comes before."""
    return stage.seconds(stage.run(bank), RestoreState.PENDING, RestoreState.COMPLETE)
