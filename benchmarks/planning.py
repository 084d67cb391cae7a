"""How long `restore-worker plan`, as a user types it, and `submit` take for large tenants, and how much memory."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.graphs import random_graph
from benchmarks.table import Row
from restore_worker import restore
from tests.support.banks import write
from tests.support.processes import ROOT
from tests.support.tenants import tenant

REPEATS = 5
# Servers of a tenant, what its plan may take in seconds and MB. The larger one comes to some twenty stacks.
TENANTS = ((466, 2, 150), (3333, 12, 500))
SUBMITTED = 10_000
# A process tells its own peak: what its parent is told of it counts the parent's memory too.
_PLAN = """
from restore_worker.cli.main import main
code = main()
print(open("/proc/self/status").read())
raise SystemExit(code)
"""


def measure() -> Iterator[Row]:
    """Plan in fresh processes, submit in this one; the median of the seconds, the most of the memory."""
    for servers, most_seconds, most_megabytes in TENANTS:
        checkpoint = tenant(servers=servers, volumes_per_server=2, networks=4)
        with tempfile.TemporaryDirectory() as scratch:
            bank = Path(scratch, "bank")
            write(checkpoint, bank)
            measured = [_plan(bank, Path(scratch, "app.yaml")) for _ in range(REPEATS)]
        seconds = statistics.median(taken for taken, _ in measured)
        megabytes = max(peak for _, peak in measured) / 1e6
        what = f"plan of {len(checkpoint.nodes)} resources, a process of its own"
        yield Row(f"{what}: time", f"{seconds:.2f} s", f"< {most_seconds} s")
        yield Row(f"{what}: peak memory", f"{megabytes:.0f} MB", f"< {most_megabytes} MB")
    seconds = statistics.median(_submit() for _ in range(REPEATS))
    yield Row(f"submit of {SUBMITTED} resources: time", f"{seconds:.2f} s", "<= 2 s")


def _submit() -> float:
    """Return how long it takes to write a restore down, its plan included; nobody takes it up."""
    with tempfile.TemporaryDirectory() as scratch:
        bank = random_graph(SUBMITTED).save(Path(scratch))
        start = time.perf_counter()
        submitted = restore.submit("latest", bank=bank, create_stack=False)
        seconds = time.perf_counter() - start
        submitted.cancel()
    return seconds


def _plan(bank: Path, output: Path) -> tuple[float, int]:
    """Return seconds and bytes."""
    command = [sys.executable, "-c", _PLAN, "plan", "latest", "--bank", str(bank), "--output", str(output)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    if peak is None or not output.exists():
        raise RuntimeError(done.stdout + done.stderr)
    return seconds, int(peak[1]) * 1024
