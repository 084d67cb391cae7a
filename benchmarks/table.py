"""The table in which all figures are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One figure. aim: "" if it only helps to read the others."""

    what: str
    figure: str
    aim: str = ""


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table, its columns aligned."""
    lines = [Row("what", "measured", "aim"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    lines.insert(1, Row(*("-" * width for width in widths)))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
