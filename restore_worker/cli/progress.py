"""A restore as it goes on: on one screen, one line a fact, or one JSON object an event."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.filesize import decimal

from restore_worker.cli.wording import label, listed
from restore_worker.entries import Event, Node
from restore_worker.errors import LedgerUnavailableError, RestoreError, printable
from restore_worker.restore import Restore
from restore_worker.states import SETTLED_RESOURCE_STATES, ResourceState, RestoreState

logger = logging.getLogger(__name__)

_AT_WORK = {ResourceState.RUNNING, ResourceState.WAITING}


def follow(restore: Restore, tell: Callable[[str], None]) -> None:
    """Tell what happens to a restore, from its beginning to its end; warn when nothing happens.

    tell: gets every line.
    Raises RestoreError with the reason if it failed or was cancelled.
    """
    progress = _Progress(restore)
    with _seen_through(restore):
        for event in restore.watch():
            if event is not None:
                tell(progress.line(event))
                continue
            try:
                for complaint in restore.complaints():
                    logger.warning(complaint)
                tell(progress.still())
            except LedgerUnavailableError as error:
                logger.warning(error)


def follow_on_screen(restore: Restore, stream: TextIO) -> None:
    """Show on a terminal how a restore stands, drawn anew as things happen; else as `follow`."""
    # It is slow to import, and only who looks needs it.
    from rich.console import Console

    from restore_worker.cli.live import follow_live

    with _seen_through(restore):
        follow_live(restore, Console(file=stream, highlight=False, emoji=False, markup=False))


def follow_as_json(restore: Restore, tell: Callable[[str], None]) -> None:
    """Tell every event as a JSON object on a line of its own; else as `follow`."""
    nodes = {each.node.index: each.node for each in restore.resources}
    with _seen_through(restore):
        for event in restore.watch():
            if event is None:
                continue
            node = None if event.index is None else nodes[event.index]
            resource = node and {"type": node.type, "id": node.id, "name": node.name}
            # With microseconds, since events of one second have an order.
            told = {"id": event.id, "time": event.time.isoformat(), "event": event.name, "resource": resource}
            tell(json.dumps({**told, **event.details}))


@contextmanager
def _seen_through(restore: Restore) -> Iterator[None]:
    """Say of whoever stops looking how to come back; RestoreError once it has ended as nobody wanted."""
    try:
        yield
    except KeyboardInterrupt:
        logger.warning(
            "restore %s goes on: `restore-worker watch %s` shows it, `restore-worker cancel %s` stops it",
            *(restore.id,) * 3,
        )
        raise
    ended = restore.status
    if ended.state in {RestoreState.FAILED, RestoreState.CANCELLED}:
        reason = f": {printable(ended.reason)}" if ended.reason else ""
        raise RestoreError(
            f"restore {restore.id} {ended.state}{reason}\n"
            f"`restore-worker resume {restore.id}` goes on with what is not restored yet, "
            f"`restore-worker destroy {restore.id}` deletes what was made"
        )


class _Progress:
    """Counts what is settled, as the events tell it."""

    def __init__(self, restore: Restore) -> None:
        self._restore = restore
        self._nodes = {each.node.index: each.node for each in restore.resources}
        self._settled: dict[int, str] = {}

    def line(self, event: Event) -> str:
        """Return what the event says."""
        if event.index is not None and event.name in tuple(SETTLED_RESOURCE_STATES):
            self._settled[event.index] = event.name
        elif event.index is None and event.name == RestoreState.PENDING:
            # A resumed restore begins again with what was not restored.
            self._settled = {index: how for index, how in self._settled.items() if how == ResourceState.DONE}
        if event.name == "stack":
            return f"{self._count} {self._of_heat(event.details)}"
        subject = "" if event.index is None else f" {_label(self._nodes[event.index])}"
        reason = event.details.get("reason") or event.details.get("physical_id")
        if event.name == "moved":
            reason = decimal(int(event.details["bytes"]))
        return f"{self._count} {event.name}{subject}{f': {printable(reason)}' if reason else ''}"

    def still(self) -> str:
        """Return what is at work while nothing is heard of it."""
        at_work = [
            f"{each.state} {_label(each.node)}" for each in self._restore.resources if each.state in _AT_WORK
        ]
        stacks = (log.status for log in self._restore.stacks.values())
        at_work += [f"stack {status}" for status in stacks if status.endswith("_IN_PROGRESS")]
        return f"{self._count} still {listed(at_work, 3) or 'waiting'}"

    @functools.cached_property
    def _titles(self) -> dict[str, str]:
        return self._restore.titles

    def _of_heat(self, details: Mapping[str, str]) -> str:
        """Return what Heat says; of its reasons only those for a failure say more than the status."""
        reason = details["reason"] if details["status"].endswith("_FAILED") else ""
        who = self._titles.get(details["name"], f"stack {details['name']}")
        return printable(f"{details['status']} {who}{f': {reason}' if reason else ''}")

    @property
    def _count(self) -> str:
        return f"[{len(self._settled)}/{len(self._nodes)}]"


def _label(node: Node) -> str:
    return label(node.type, node.id, node.name)
