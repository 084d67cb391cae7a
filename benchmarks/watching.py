"""What it costs to look: a restore of 1,400 resources with and without a `watch` on a terminal, in turns."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import stage
from benchmarks.graphs import random_graph
from benchmarks.table import Row
from restore_worker import restore
from restore_worker.restore import Restore
from restore_worker.states import RestoreState
from tests.support.processes import restore_worker
from tests.support.terminal import Terminal

SIZE = 1400
LONGEST = 0.6
REPEATS = 2
THREADS = 16


def measure() -> Iterator[Row]:
    """Restore the same graph again and again, every other time watched."""
    with tempfile.TemporaryDirectory() as scratch, stage.workers("threads", THREADS):
        bank = random_graph(SIZE, 1, LONGEST).save(Path(scratch))
        alone, watched, shares = [], [], []
        for _ in range(REPEATS):
            alone.append(_seconds(stage.run(bank)))
            taken, share = _watched(bank)
            watched.append(taken)
            shares.append(share)
    slower = statistics.median(watched) / statistics.median(alone) - 1
    yield Row(
        f"restore of {SIZE} resources, watched: the watcher", f"{statistics.median(shares):.1%} of a core", "< 5 %"
    )
    yield Row("... workers slower by", f"{slower:.1%}", "< 3 %")


def _seconds(done: Restore) -> float:
    return stage.seconds(done, RestoreState.RESTORING, RestoreState.ASSEMBLING)


def _watched(bank: Path) -> tuple[float, float]:
    """Return the seconds from the first resource to the last, and what part of a core the watcher took."""
    submitted = restore.submit("latest", bank=bank, create_stack=False)
    before, began = _cpu(), time.monotonic()
    with Terminal(restore_worker("watch", submitted.id), 80, 24) as terminal:
        terminal.end(300)
    share = (_cpu() - before) / (time.monotonic() - began)
    return _seconds(submitted), share


def _cpu() -> float:
    """Return the seconds of processor time that ended children took: the worker is none of them yet."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
