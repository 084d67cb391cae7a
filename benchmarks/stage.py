"""One Valkey, workers as a deployment starts them, and what they are given to do."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from celery import Task, chord, group

from restore_worker import restore
from restore_worker.entries import QUEUE
from restore_worker.redis_state import waiting
from restore_worker.restore import Restore
from restore_worker.states import RestoreState
from tests.support.processes import ROOT, Program, redis_server, start_worker

CORES = os.cpu_count() or 1
# That anything may take.
_SECONDS = 600
_STRANGER = str(ROOT / "tests/support/stranger")


@contextmanager
def deployment() -> Iterator[redis.Redis]:
    """Run a Valkey that this process and its workers take for theirs, with the plugin of steps installed."""
    sys.path.append(_STRANGER)
    with redis_server() as url, redis.Redis.from_url(url) as client:
        os.environ["RESTORE_REDIS_URL"] = url
        yield client


@contextmanager
def workers(pool: str, concurrency: int, number: int = 1) -> Iterator[list[Program]]:
    """Run some workers, one unless said otherwise."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        programs = []
        for each in range(number):
            program = start_worker(
                Path(scratch) / f"worker{each}.log",
                pool=pool,
                concurrency=concurrency,
                options=["--include=benchmarks.noop"],
                env={"PYTHONPATH": _STRANGER},
            )
            running.callback(program.stop)
            programs.append(program)
        yield programs


def run(bank: Path) -> Restore:
    """Restore the bank's only checkpoint."""
    submitted = restore.submit("latest", bank=bank, create_stack=False)
    ended = submitted.wait(_SECONDS)
    if ended.state is not RestoreState.COMPLETE:
        raise RuntimeError(f"the restore ended {ended.state}: {ended.reason}")
    return submitted


def seconds(done: Restore, first: RestoreState, last: RestoreState) -> float:
    """Return how long it took from one state to another."""
    times = {
        each.name: each.time.timestamp() for each in restore.get(done.id).watch() if each and each.index is None
    }
    return times[last] - times[first]


def run_chord(task: Task, size: int) -> float:
    """Run a plain chord of tasks with one more for its body; the seconds until that is done."""
    start = time.perf_counter()
    chord((task.s() for _ in range(size)), task.si()).apply_async().get()
    return time.perf_counter() - start


def run_group(task: Task, size: int, client: redis.Redis) -> float:
    """Run a plain group of tasks; the seconds until all are done."""
    start = time.perf_counter()
    result = group(task.s() for _ in range(size)).apply_async()
    if not task.ignore_result:
        result.get()
    # Nobody tells when the others are done: the queue is empty then, and no worker holds a message.
    while waiting(client, QUEUE) or client.hlen("unacked"):
        if time.perf_counter() - start > _SECONDS:
            raise TimeoutError(f"a group of {size} tasks is not done after {_SECONDS} s")
        time.sleep(0.002)
    return time.perf_counter() - start
