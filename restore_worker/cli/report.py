"""`report`: how long a restore took, and what in it."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from cliff.show import ShowOne

from restore_worker import restore
from restore_worker.cli.arguments import file_to_write
from restore_worker.cli.restores import OfOneRestore
from restore_worker.cli.wording import Shown, aligned, moment
from restore_worker.errors import printable
from restore_worker.export import write_text
from restore_worker.page import page
from restore_worker.report import Report as Measured
from restore_worker.report import ResourceTimes, StackTimes

logger = logging.getLogger(__name__)

Timed = TypeVar("Timed", ResourceTimes, StackTimes)
# People are told of those that took longest.
_TOLD = 10


class Report(OfOneRestore, ShowOne):
    """Show how long a restore took, and what in it.

    It is measured by what was noted when it happened: phases, resources, bytes
    read from the bank, what Heat built, and which resources had to wait for
    each other. It stays as long as the restore is remembered, also once that is
    destroyed. People are told of the slowest; -f json has all.

    With -o it is a page for a browser, in one file: the resources as a picture,
    a timeline of them, which id is which now, what the site map changed, and
    what comes back differently.
    """

    example = "restore-worker report 5f0c4a9e-... -f json"
    columns = tuple(each.name for each in dataclasses.fields(Measured))

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of id and file."""
        parser = super().get_parser(prog_name)
        parser.add_argument("-o", "--output", type=_page, metavar="FILE", help="write a page there: FILE.html")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Return the report's fields."""
        self._restore = restore.get(parsed_args.id)
        self._measured = self._restore.report()
        machine = _plain(dataclasses.asdict(self._measured))
        return self.columns, [Shown(machine[name], str(machine[name])) for name in self.columns]

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Shown]
    ) -> int:
        """Write it as a page, or print it as text or as the formatter does that was asked for."""
        if parsed_args.output:
            write_text(parsed_args.output, page(self._restore))
            logger.info("report: %s", parsed_args.output)
            return 0
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self.app.stdout.write("\n".join(_lines(self._measured)) + "\n")
            return 0
        return int(super().produce_output(parsed_args, column_names, data) or 0)


def _page(text: str) -> Path:
    """Return the path of a page that can be written."""
    if Path(text).suffix.lower() not in {".html", ".htm"}:
        raise argparse.ArgumentTypeError(f"{text!r} does not end with .html")
    return file_to_write(text)


def _lines(measured: Measured) -> Iterator[str]:
    where = f" on cloud {measured.cloud}" if measured.cloud else ""
    yield printable(f"Restore {measured.id} of checkpoint {measured.checkpoint}{where}: {measured.state}")
    if measured.completed:
        took = f"{_took(measured.seconds)} from its submission to its end"
    else:
        took = f"submitted {moment(measured.submitted)}, never complete" if _over(measured) else "not complete yet"
    yield f"Recovery: {took}"
    yield from _section("Phases", ((each.state.value, _took(each.seconds)) for each in measured.phases))
    size = f", {measured.bytes} bytes from the bank" if measured.bytes else ""
    slowest = _slowest(measured.resources)
    yield from _section(
        f"Resources ({len(measured.resources)}{size}), the slowest first",
        (
            (
                _took(each.seconds),
                f"waited {_took(each.waited)}",
                f"{each.attempts} attempt{'' if each.attempts == 1 else 's'}",
                f"{each.bytes} bytes" if each.bytes is not None else "",
                f"{each.type} {each.name or each.id}",
                each.state.value,
            )
            for each in slowest
        ),
    )
    yield from _section(
        f"Stack ({len(measured.stack)}), the slowest first",
        ((_took(each.seconds), f"{each.type} {each.title}", each.status) for each in _slowest(measured.stack)),
    )
    by_id = {each.id: each for each in measured.resources}
    path = [by_id[each] for each in measured.critical_path]
    yield from _section(
        "Each of these had to wait for the one before",
        ((_took(each.seconds), f"{each.type} {each.name or each.id}") for each in path),
    )


def _over(measured: Measured) -> bool:
    return all(each.seconds is not None for each in measured.phases)


def _slowest(timed: Iterable[Timed]) -> list[Timed]:
    return sorted(timed, key=lambda each: -(each.seconds or 0))[:_TOLD]


def _section(heading: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    if lines := aligned(rows):
        yield from ("", f"{heading}:", *(f"  {line}" for line in lines))


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _plain(value: Any) -> Any:
    """Return what JSON and YAML have words for."""
    match value:
        case datetime():
            return moment(value)
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case str():
            return str(value)
    return value
