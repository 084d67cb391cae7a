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

SIZE = 600
REPEATS = 7


def measure(client: redis.Redis) -> Iterator[Row]:
    """Run all of them in turn, several times; medians."""
    with tempfile.TemporaryDirectory() as scratch, stage.worker("prefork", stage.CORES):
        bank = random_graph(SIZE).save(Path(scratch))
        ours, kept, ignored, taskflow = _tasks_per_second(
            lambda: _restore(bank),
            lambda: stage.run_group(noop_with_result, SIZE, client),
            lambda: stage.run_group(noop, SIZE, client),
            lambda: taskflow_engine.run(bank, stage.CORES),
        )
    yield Row(f"restore of {SIZE} resources", f"{ours:.0f} tasks/s")
    yield Row("... to a plain Celery group", f"{ours / kept:.2f} of {kept:.0f} tasks/s", ">= 0.65")
    yield Row("... to one that tells nobody when it is done", f"{ours / ignored:.2f} of {ignored:.0f} tasks/s")
    yield Row("... to TaskFlow's parallel engine", f"{ours / taskflow:.1f} times {taskflow:.0f} tasks/s")


def _tasks_per_second(*ways: Callable[[], float]) -> list[float]:
    """Return the median of each way; they take turns, and the first turn only warms up."""
    turns = [[way() for way in ways] for _ in range(1 + REPEATS)]
    return [SIZE / statistics.median(seconds) for seconds in zip(*turns[1:], strict=True)]


def _restore(bank: Path) -> float:
    """Return the seconds from the first write to the template; planning comes before."""
    times = stage.run(bank)
    return times["complete"] - times["pending"]
