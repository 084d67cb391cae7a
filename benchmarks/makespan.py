"""How much longer than its critical path a restore takes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import stage
from benchmarks.graphs import Graph, project_graph, random_graph
from benchmarks.table import Row
from restore_worker.states import RestoreState

SIZE = 300
# As many as have a thread for each of their volumes.
SERVERS = 12
GRAPHS = 5
THREADS = 32


def measure() -> Iterator[Row]:
    """Restore graphs with random times, each once."""
    with stage.workers("threads", THREADS):
        yield from _measure(
            f"{SIZE} resources of 0.05 to 0.5 s at random", lambda seed: random_graph(SIZE, seed, 0.5)
        )
        yield from _measure(
            f"a project of {SERVERS} servers, resources of 0.2 to 2 s",
            lambda seed: project_graph(SERVERS, seed, 2),
        )


def _measure(what: str, draw: Callable[[int], Graph]) -> Iterator[Row]:
    ratios, steps = [], []
    for seed in range(GRAPHS):
        graph = draw(seed)
        with tempfile.TemporaryDirectory() as scratch:
            done = stage.run(graph.save(Path(scratch)))
        taken = stage.seconds(done, RestoreState.RESTORING, RestoreState.ASSEMBLING)
        ratios.append(taken / graph.critical_path)
        steps.append((taken - graph.critical_path) / graph.depth)
    yield Row(
        f"makespan / critical path, {THREADS} threads, {what}",
        f"{statistics.median(ratios):.3f} (at most {max(ratios):.3f})",
        "<= 1.05",
    )
    yield Row("... per resource on the longest way", f"{statistics.median(steps) * 1000:.0f} ms more")
