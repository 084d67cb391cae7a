"""The command line in a process of its own, with what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.support.processes import ROOT

# What getrusage tells begins with the memory of who started the process.
_PROGRAM = """
import re, sys
from restore_worker.cli.main import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How it went.

    resident: MiB of memory that it had at most.
    """

    code: int
    out: str
    err: str
    resident: float
    seconds: float


def measured(*arguments: str, seconds: float = 120) -> Run:
    """Run `restore-worker` with these arguments; TimeoutExpired unless it ends within the seconds."""
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    err, _, kibibytes = ran.stderr.rstrip().rpartition("\n")
    return Run(ran.returncode, ran.stdout, err, int(kibibytes) / 1024, time.monotonic() - started)
