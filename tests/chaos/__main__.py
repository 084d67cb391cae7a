"""`python -m tests.chaos --runs 200 --seed 1 --report FILE`: makes the runs, and writes what came of them.

Exit code 1 if any run did not hold what is promised; its folder stays, and is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.report import BEGIN, END, has_place, report, write
from tests.chaos.run import DEADLINE, DRAIN, START, Result, kind_of

ROOT = Path(__file__).parents[2]


def make_run(seed: int, number: int, base: Path) -> Result:
    """Make one run in a process of its own."""
    folder = base / f"{number:03}"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.chaos.run", str(seed), str(number), str(folder)]
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("RESTORE_", "OS_", "CELERY_"))
    }
    # Beyond the run's own limits only its end is left: half a minute for `up` to stop.
    limit = 2 * START + DEADLINE + DRAIN + 60
    with (folder / "run.log").open("wb") as log:
        try:
            subprocess.run(command, cwd=ROOT, env=env, stdout=log, stderr=log, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            log.write(b"\nkilled: it took too long\n")
    try:
        found = json.loads((folder / "result.json").read_text())
        result = Result(**found | {"problems": [tuple(each) for each in found["problems"]]})
    except FileNotFoundError:
        result = Result(seed, number, kind_of(number), problems=[("broken", "the run ended without a result")])
    _tell(result, folder)
    return result


def _tell(result: Result, folder: Path) -> None:
    told = f"run {result.number:3}: {result.kind}: {result.size} resources, {result.kills} kills, "
    told += f"{result.seconds:.1f} s, longest stall {result.stall:.1f} s ({result.stalled}): "
    if result.problems:
        told += "; ".join(f"{what}: {sentence}" for what, sentence in result.problems)
        again = f"python -m tests.chaos --seed {result.seed} --only {result.number}"
        told += f"\n         {folder} has the logs; again: {again}"
        (folder / "again").write_text(f"{again}\n")
    else:
        told += "failed as it had to, then complete" if result.failed_first else "complete"
        shutil.rmtree(folder)
    sys.stderr.write(f"{told}\n")


def _page(name: str) -> Path:
    """Return a page that has a place for the table: after hours of runs it would be too late to learn of another one."""
    page = Path(name)
    if not page.is_file() or not has_place(page.read_text()):
        raise argparse.ArgumentTypeError(f"{name} is no page with the lines {BEGIN} and {END}")
    return page


def main() -> int:
    """Make the runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="what all is drawn from (default: 1)")
    parser.add_argument("--jobs", type=int, default=3, help="runs side by side (default: 3)")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="only the runs of these numbers")
    parser.add_argument("--report", type=_page, metavar="FILE", help="Markdown page whose table is written anew")
    chosen = parser.parse_args()
    numbers: Iterable[int] = chosen.only or range(1, chosen.runs + 1)
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    begun = time.monotonic()
    with ThreadPoolExecutor(chosen.jobs) as jobs:
        results = list(jobs.map(lambda number: make_run(chosen.seed, number, base), numbers))
    text = report(results, time.monotonic() - begun, f"python -m tests.chaos {shlex.join(sys.argv[1:])}")
    if chosen.report:
        write(chosen.report, text)
    else:
        sys.stdout.write(text)
    bad = [each for each in results if each.problems]
    if not bad:
        base.rmdir()
    sys.stderr.write(f"{len(results)} runs, {len(bad)} of them not as promised\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
