"""Tasks per second: a restore, a plain Celery group in the same worker, and TaskFlow's parallel engine."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from celery import group

from benchmarks import stage, taskflow_engine
from benchmarks.graphs import random_graph
from benchmarks.noop import noop, noop_with_result
from benchmarks.table import Row

SIZE = 600
REPEATS = 7


def measure(url: str) -> Iterator[Row]:
    """Run all of them in turn, several times; medians."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch, redis.Redis.from_url(url) as client, stage.worker("prefork", cores):
        bank = random_graph(SIZE).save(Path(scratch))
        medians = _medians(
            lambda: _restore(bank),
            _group_with_results,
            lambda: _group(client),
            lambda: taskflow_engine.run(bank, cores),
        )
    ours, with_results, without, taskflow = (SIZE / seconds for seconds in medians)
    yield Row(f"restore of {SIZE} resources, prefork pool of {cores}", f"{ours:.0f} tasks/s")
    yield Row("plain Celery group, results kept", f"{with_results:.0f} tasks/s: ratio {ours / with_results:.2f}", ">= 0.65")
    yield Row("plain Celery group, results ignored", f"{without:.0f} tasks/s: ratio {ours / without:.2f}")
    yield Row(f"TaskFlow's parallel engine, {cores} threads", f"{taskflow:.0f} tasks/s: ratio {ours / taskflow:.1f}")


def _medians(*ways: Callable[[], float]) -> list[float]:
    """Return the median seconds of each way; they take turns, and the first turn only warms up."""
    turns = [[way() for way in ways] for _ in range(1 + REPEATS)]
    return [statistics.median(seconds) for seconds in zip(*turns[1:], strict=True)]


def _restore(bank: Path) -> float:
    times = stage.run(bank)
    return times["complete"] - times["pending"]


def _group_with_results() -> float:
    start = time.perf_counter()
    group(noop_with_result.s() for _ in range(SIZE)).apply_async().get()
    return time.perf_counter() - start


def _group(client: redis.Redis) -> float:
    start = time.perf_counter()
    group(noop.s() for _ in range(SIZE)).apply_async()
    # Nobody tells when they are done: the queue is empty then, and nothing is held by a worker.
    while client.llen("restore") or client.hlen("unacked"):
        time.sleep(0.002)
    return time.perf_counter() - start
