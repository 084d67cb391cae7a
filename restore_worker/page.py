"""All that is known of one restore as one HTML file, which asks nobody for anything."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal

from restore_worker.drawing import picture
from restore_worker.errors import printable
from restore_worker.report import Report
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState

if TYPE_CHECKING:
    from jinja2 import Template

    from restore_worker.submitted import Restore

_PROLOGUE = re.compile(r"\A.*?(?=<svg)", re.DOTALL)
# Marks below the timeline.
_MARKS = 6
_GOOD = {RestoreState.COMPLETE, RestoreState.FORGOTTEN, RestoreState.DESTROYED}


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of the timeline; places and widths in percent of all of it.

    outcome: ``done``, ``failed`` or ``open``.
    critical: whether the end had to wait for it.
    """

    type: str
    title: str
    told: str
    outcome: str
    critical: bool
    waited_from: float
    waited: float
    began: float
    width: float


def page(restore: Restore) -> str:
    """Return the HTML; UnknownRestoreError if there is no such restore."""
    record, measured = restore.status, restore.report()
    bars = list(_bars(measured))
    return _template().render(
        record=record,
        measured=measured,
        outcome="done" if record.state in _GOOD else "failed" if record.state in FINAL_RESTORE_STATES else "open",
        phases=list(_phases(measured)),
        bars=bars,
        marks=list(_marks(measured)),
        graph=_PROLOGUE.sub("", picture(dataclasses.replace(restore.graph(), title=""), "svg").decode()),
        belongings=[each for each in restore.belongings if each.original_id or not each.status],
        changes=restore.changes,
        findings=_grouped(restore),
    )


@functools.cache
def _template() -> Template:
    # Only who writes a page needs it.
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("restore_worker", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # Names come from banks and clouds.
        finalize=lambda value: printable(value) if isinstance(value, str) and "\n" not in value else value,
    )
    made.filters |= {"took": _took, "bytes": decimal, "moment": _moment}
    return made.get_template("page.html")


def _span(measured: Report) -> tuple[datetime, float]:
    """Return when the timeline begins, and how many seconds it has."""
    ends = [each.began + timedelta(seconds=each.seconds or 0) for each in _timed(measured) if each.began]
    phases = [each.began + timedelta(seconds=each.seconds or 0) for each in measured.phases]
    last = measured.completed or max([measured.submitted, *ends, *phases])
    return measured.submitted, max((last - measured.submitted).total_seconds(), 0.001)


def _timed(measured: Report) -> Sequence[Any]:
    return (*measured.resources, *measured.stack)


def _phases(measured: Report) -> Iterator[dict[str, Any]]:
    """Yield the restore's phases, each with its share of the whole in percent."""
    _, whole = _span(measured)
    for each in measured.phases:
        yield {"state": each.state, "seconds": each.seconds, "share": 100 * (each.seconds or 0) / whole}


def _bars(measured: Report) -> Iterator[Bar]:
    begin, whole = _span(measured)
    path = set(measured.critical_path)

    def place(moment: datetime) -> float:
        return min(max(100 * (moment - begin).total_seconds() / whole, 0.0), 100.0)

    for each in measured.resources:
        if each.began is None:
            continue
        seconds, waited = each.seconds, each.waited or 0.0
        tried = f", {each.attempts} attempts" if each.attempts > 1 else ""
        read = f", {decimal(each.bytes)}" if each.bytes else ""
        told = f"{_took(seconds)}{tried}{read}"
        outcome = "open" if seconds is None else "done" if each.state == "done" else "failed"
        width = 100 * (seconds or 0) / whole
        before = place(each.began - timedelta(seconds=waited))
        yield Bar(
            each.type, each.name or each.id, told, outcome, each.id in path, before,
            place(each.began) - before, place(each.began), width,
        )  # fmt: skip
    for part in measured.stack:
        if part.began is None:
            continue
        outcome = "done" if part.status.endswith("COMPLETE") else "failed" if part.seconds is not None else "open"
        width = 100 * (part.seconds or 0) / whole
        told = f"{_took(part.seconds)}, by Heat"
        yield Bar(part.type, part.title, told, outcome, False, place(part.began), 0.0, place(part.began), width)


def _marks(measured: Report) -> Iterator[dict[str, Any]]:
    _, whole = _span(measured)
    for each in range(_MARKS + 1):
        yield {"place": 100 * each / _MARKS, "told": _took(whole * each / _MARKS)}


def _grouped(restore: Restore) -> dict[str, dict[tuple[str, str], list[str]]]:
    """Return findings by type, and by what is to be known, the names of those that it is true of."""
    by_type: dict[str, dict[tuple[str, str], list[str]]] = {}
    for each in restore.findings:
        names = by_type.setdefault(each.type, {}).setdefault((each.field, each.text), [])
        if each.id:
            names.append(each.name or each.id)
    return by_type


def _took(seconds: float | None) -> str:
    if seconds is None:
        return "not ended"
    if seconds < 90:  # noqa: PLR2004 - below it, minutes say too little
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _moment(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"
