"""Holds what README shows of a run against what the run printed."""

from __future__ import annotations

import re

from tests.support.processes import ROOT

# The rest of a line, or lines, that README leaves out.
CUT = "..."
# What is another one in each run, as `re.escape` leaves it: ids, addresses from a pool, times, and how far it is.
VARIES = (
    (r"[0-9a-f]{8}\\-\\\.\\\.\\\.", "[0-9a-f-]{36}"),
    (r"203\\\.0\\\.113\\\.\d+", r"203\\.0\\.113\\.\\d+"),
    (r"198\\\.51\\\.100\\\.\d+", r"198\\.51\\.100\\.\\d+"),
    (r"^\\\[\d+/", r"\\[\\d+/"),
)


def shown(command: str) -> list[str]:
    """Return the lines of README's block that begins with a command."""
    readme = (ROOT / "README.md").read_text()
    start = re.escape(f"$ {command}")
    [block] = re.findall(rf"^```\n({start}.*?)^```", readme, re.DOTALL | re.MULTILINE)
    return str(block).splitlines()


def hold(lines: list[str], printed: str) -> None:
    """Return if the lines are what was printed, each after the one before; AssertionError that names one if not."""
    left = (" ".join(each.split()) for each in printed.splitlines())
    anywhere = True
    for line in lines:
        if line == CUT:
            anywhere = True
            continue
        wanted = _pattern(line)
        found = next((each for each in left if not anywhere or re.fullmatch(wanted, each)), None)
        assert found is not None, f"not there, or not after the line before it: {line}\n{printed}"
        assert re.fullmatch(wanted, found), f"{line}\nis not\n{found}\n{printed}"
        anywhere = False


def _pattern(line: str) -> str:
    """Return what the line that README shows must match, with single blanks: ids are shortened, so columns move."""
    words = []
    for word in map(re.escape, line.split()):
        for varying, what in VARIES:
            word = re.sub(varying, what, word)  # noqa: PLW2901 - one after the other
        words.append(".*" if word == re.escape(CUT) else word)
    return " ".join(words)
