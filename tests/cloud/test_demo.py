"""README shows what `make demo-cloud` prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cloud.openstack_cloud.cloud import Cloud
from tests.support.processes import ROOT

# An application is built, saved, deleted, restored and destroyed: two minutes, more on a busy machine.
SECONDS = 900
# The rest of a line, or lines, that README leaves out.
CUT = "..."
# What is another one in each run, as `re.escape` leaves it: ids, addresses from a pool, and how far the restore is.
VARIES = (
    (r"[0-9a-f]{8}\\-\\\.\\\.\\\.", "[0-9a-f-]{36}"),
    (r"203\\\.0\\\.113\\\.\d+", r"203\\.0\\.113\\.\\d+"),
    (r"^\\\[\d+/", r"\\[\\d+/"),
)


def shown() -> list[str]:
    """Return the lines of README's block that begins with the request."""
    readme = (ROOT / "README.md").read_text()
    [block] = re.findall(
        r"^```\n(\$ restore-worker submit latest --cloud demo .*?)^```", readme, re.DOTALL | re.MULTILINE
    )
    return block.splitlines()


def pattern(line: str) -> str:
    """Return what the line that README shows must match, with single blanks: ids are shortened, so columns move."""
    words = []
    for word in map(re.escape, line.split()):
        for varying, what in VARIES:
            word = re.sub(varying, what, word)  # noqa: PLW2901 - one after the other
        words.append(".*" if word == re.escape(CUT) else word)
    return " ".join(words)


def test_readme_shows_a_real_run(cloud: Cloud, tmp_path: Path) -> None:
    assert cloud.is_up
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "examples/demo-cloud.sh"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    printed = (" ".join(each.split()) for each in done.stdout.splitlines())
    anywhere = True
    for line in shown():
        if line == CUT:
            anywhere = True
            continue
        wanted = pattern(line)
        found = next((each for each in printed if not anywhere or re.fullmatch(wanted, each)), None)
        assert found is not None, f"not there, or not after the line before it: {line}\n{done.stdout}"
        assert re.fullmatch(wanted, found), f"{line}\nis not\n{found}\n{done.stdout}"
        anywhere = False
