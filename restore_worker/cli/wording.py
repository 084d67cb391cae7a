"""How values, resources, times and findings are written for people, where programs get them as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from cliff.columns import FormattableColumn

from restore_worker.belongings import Belonging
from restore_worker.entries import RestoreRecord
from restore_worker.errors import printable
from restore_worker.plan import Finding
from restore_worker.states import RestoreState


class Shown(FormattableColumn[Any]):
    """A value for the formatters of programs (json, yaml, value), and a text of it for people."""

    def __init__(self, value: Any, text: str) -> None:
        super().__init__(value)
        self._text = text

    def human_readable(self) -> str:
        """Return the text."""
        return self._text


def shown(text: str) -> Shown:
    """Return a text from outside as a column."""
    return Shown(text, printable(text))


def label(resource_type: str, resource_id: str, name: str) -> str:
    """Return what a resource is called in a line: its type and name, or its id if it has no name."""
    return printable(f"{resource_type} {name or resource_id}")


def moment(time: datetime | None) -> str | None:
    """Return a time as ISO 8601 in whole seconds, UTC."""
    return None if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"


def drill(record: RestoreRecord) -> Shown:
    """Return as a column when a drill is deleted; "" for what is no drill."""
    if not record.ttl:
        return Shown(None, "")
    due = moment(record.deleted_at)
    if record.state is RestoreState.DESTROYED:
        text = "drill, deleted"
    elif due:
        text = f"drill, deleted{' again' if record.leaving else ''} at {due}"
    else:
        text = f"drill, deleted {timedelta(seconds=record.ttl)} after its end"
    return Shown({"ttl_seconds": record.ttl, "deleted_at": due}, text)


def listed(words: Sequence[str], most: int = 5) -> str:
    """Return the first words with commas between, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a printable line for each row, its cells below each other."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def owned(belongings: Sequence[Belonging]) -> Shown:
    """Return as a column what exists because of a restore; people are spared mere links, such as attachments."""
    rows = [
        (each.type, each.title, each.id, each.original_id and f"was {each.original_id}", ", ".join(each.addresses))
        for each in belongings
        # What was built beside the stack and stands for nothing yet is still under way.
        if each.original_id or each.type == "OS::Heat::Stack" or not each.status
    ]
    return Shown([dataclasses.asdict(each) for each in belongings], "\n".join(aligned(rows)))


def grouped_findings(findings: Sequence[Finding]) -> Shown:
    """Return findings as a column: a line for each type, and below it what is to be known of which resources."""
    by_type: dict[str, dict[tuple[str, str], list[str]]] = {}
    for each in findings:
        names = by_type.setdefault(each.type, {}).setdefault((each.field, each.text), [])
        if each.id:
            names.append(each.name or each.id)
    lines = []
    for resource_type, told in by_type.items():
        lines.append(printable(resource_type))
        for (field, text), names in told.items():
            whose = f" of {listed(names)}" if names else ""
            lines.append(printable(f"  {field}{whose}: {text}"))
    return Shown([each._asdict() for each in findings], "\n".join(lines))
