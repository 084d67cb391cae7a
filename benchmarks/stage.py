"""One Valkey, workers as a deployment starts them, and what they are given to do."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from celery import Task, group

from restore_worker import restore
from restore_worker.entries import QUEUE
from restore_worker.states import RestoreState
from tests.support.processes import ROOT, redis_server, start_worker

CORES = os.cpu_count() or 1
_STRANGER = str(ROOT / "tests/support/stranger")


@contextmanager
def deployment() -> Iterator[redis.Redis]:
    """Run a Valkey that this process and its workers take for theirs, with the plugin of steps installed."""
    sys.path.append(_STRANGER)
    with redis_server() as url, redis.Redis.from_url(url) as client:
        os.environ["RESTORE_REDIS_URL"] = url
        yield client


@contextmanager
def worker(pool: str, concurrency: int) -> Iterator[None]:
    """Run one worker."""
    with tempfile.TemporaryDirectory() as scratch:
        program = start_worker(
            Path(scratch) / "worker.log",
            pool=pool,
            concurrency=concurrency,
            options=["--include=benchmarks.noop"],
            env={"PYTHONPATH": _STRANGER},
        )
        try:
            yield
        finally:
            program.stop()


def run(bank: Path) -> dict[str, float]:
    """Restore the bank's only checkpoint; when it came to each of its states, in seconds since 1970."""
    submitted = restore.submit("latest", bank=bank, create_stack=False)
    ended = submitted.wait(600)
    if ended.state is not RestoreState.COMPLETE:
        raise RuntimeError(f"the restore ended {ended.state}: {ended.reason}")
    events = restore.get(submitted.id).watch()
    return {event.name: event.time.timestamp() for event in events if event and event.index is None}


def run_group(task: Task, size: int, client: redis.Redis) -> float:
    """Run a plain group of tasks; the seconds until all are done."""
    start = time.perf_counter()
    result = group(task.s() for _ in range(size)).apply_async()
    if not task.ignore_result:
        result.get()
    # Nobody tells when the others are done: the queue is empty then, and no worker holds a message.
    while client.llen(QUEUE) or client.hlen("unacked"):
        time.sleep(0.002)
    return time.perf_counter() - start
