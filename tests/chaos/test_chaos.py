"""A few of the chaos runs, always the same ones: all of them are `make chaos`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

SEED = 1
# Those whose faults differ most: children, Redis, `up`, a deadly resource, a lost message, Heat, a fan-out.
RUNS = (1, 5, 8, 12, 15, 25, 30)
# Each takes half a minute beside another one on two cores that do other work too.
SECONDS = 600


def test_restores_hold_what_is_promised_while_processes_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--only", *map(str, RUNS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
