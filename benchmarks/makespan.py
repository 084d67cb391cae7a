"""How much longer than its critical path a restore takes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import stage
from benchmarks.graphs import random_graph
from benchmarks.table import Row

SIZE = 300
LONGEST = 0.5
GRAPHS = 5
THREADS = 32


def measure() -> Iterator[Row]:
    """Restore random graphs with random times, each once."""
    ratios = []
    steps = []
    with stage.worker("threads", THREADS):
        for seed in range(GRAPHS):
            graph = random_graph(SIZE, seed, LONGEST)
            with tempfile.TemporaryDirectory() as scratch:
                times = stage.run(graph.save(Path(scratch)))
            taken = times["assembling"] - times["restoring"]
            ratios.append(taken / graph.critical_path)
            steps.append((taken - graph.critical_path) / graph.depth)
    told = f"{statistics.median(ratios):.3f} (at most {max(ratios):.3f})"
    yield Row(
        f"makespan / critical path, {THREADS} threads, {SIZE} resources of {LONGEST / 10:g} to {LONGEST:g} s",
        told,
        "<= 1.15",
    )
    yield Row("the same, per resource on the longest way", f"{statistics.median(steps) * 1000:.0f} ms more")
