"""Time and memory that `restore-worker plan` takes for a large tenant, as a user types it."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Row
from tests.support.banks import write
from tests.support.processes import ROOT
from tests.support.tenants import tenant

REPEATS = 5
# A process tells its own peak: what its parent is told of it counts the parent's memory too.
_PLAN = """
from restore_worker.cli.main import main
code = main()
print(open("/proc/self/status").read())
raise SystemExit(code)
"""


def measure() -> Iterator[Row]:
    """Plan in fresh processes; the median of the seconds, the most of the memory."""
    checkpoint = tenant(servers=466, volumes_per_server=2, networks=4)
    with tempfile.TemporaryDirectory() as scratch:
        bank = Path(scratch, "bank")
        write(checkpoint, bank)
        measured = [_plan(bank, Path(scratch, "app.yaml")) for _ in range(REPEATS)]
    seconds = statistics.median(taken for taken, _ in measured)
    megabytes = max(peak for _, peak in measured) / 1e6
    what = f"plan of {len(checkpoint.nodes)} resources, a process of its own"
    yield Row(f"{what}: time", f"{seconds:.2f} s", "< 2 s")
    yield Row(f"{what}: peak memory", f"{megabytes:.0f} MB", "< 150 MB")


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
