"""A submitted restore, seen from outside: how it stands, and what may be done to it."""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restore_worker import attendance, settings
from restore_worker.attendance import QUIET_SECONDS
from restore_worker.belongings import Belonging, belongings, titles
from restore_worker.changes import Change
from restore_worker.diagram import Diagram, Drawn, diagram
from restore_worker.entries import (
    QUEUE,
    RECONCILE_QUEUE,
    Event,
    ResourceProgress,
    RestoreRecord,
    StackLog,
    stack_name,
)
from restore_worker.errors import LedgerUnavailableError, RestoreError
from restore_worker.export import write_hots
from restore_worker.hot import Hot
from restore_worker.plan import Finding, stored_finding
from restore_worker.report import Report, report
from restore_worker.settings import Settings
from restore_worker.states import (
    FINAL_RESTORE_STATES,
    SETTLED_RESOURCE_STATES,
    VERBS,
    Already,
    Goes,
    Obstacle,
    Refused,
    RestoreState,
    Verb,
)

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger

logger = logging.getLogger(__name__)

# Seconds between two looks at a restore with news: hundreds of looks a second would slow it down.
_PACE = 0.05
# Seconds in which Redis may be restarted, or a replica take over, while somebody follows a restore.
_LONGEST_OUTAGE = 120.0


@dataclass(slots=True)
class Restore:
    """A submitted restore, seen from outside.

    export: where `wait` writes the template, or the directory of several.
    """

    id: str
    export: Path | None = None
    _seen: str = field(default="0-0", repr=False)

    @property
    def status(self) -> RestoreRecord:
        """The restore as it stands."""
        return caller_ledger().get(self.id)

    @property
    def resources(self) -> list[ResourceProgress]:
        """The resources as they stand, every child before its parents."""
        return caller_ledger().resources(self.id)

    @property
    def children(self) -> dict[int, list[int]]:
        """What a resource depends on, by the place of each in `resources`; of those that depend on something."""
        return caller_ledger().children(self.id)

    @property
    def templates(self) -> tuple[Hot, ...]:
        """The template with the values of its parameters, or several; none if there is none (yet)."""
        return caller_ledger().templates(self.id)

    @property
    def stacks(self) -> dict[str, StackLog]:
        """What is known of its stacks, by their names; one that there is not (yet) is empty."""
        ledger = caller_ledger()
        return {stack_name(self.id, number): ledger.stacks.get(self.id, number) for number in self.status.stacks}

    @property
    def belongings(self) -> list[Belonging]:
        """What exists on the target because of it: what was built, under its original and its new id."""
        return belongings(caller_ledger(), self.id)

    @property
    def titles(self) -> dict[str, str]:
        """What a person calls the resources of its stacks, by their names in the templates."""
        return titles(caller_ledger(), self.id)

    @property
    def findings(self) -> list[Finding]:
        """What comes back differently or not at all."""
        return [stored_finding(each) for each in json.loads(caller_ledger().findings(self.id))]

    @property
    def changes(self) -> list[Change]:
        """What the site map changed, and by which rule."""
        return [Change(*each) for each in json.loads(caller_ledger().changes(self.id))]

    def graph(self) -> Diagram:
        """Return its resources as a diagram, each as it stands, with those that the end had to wait for."""
        record, path = self.status, set(self.report().critical_path)
        drawn = [
            Drawn(each.node.type, each.node.name or each.node.id, each.state, each.node.id in path)
            for each in self.resources
        ]
        return diagram(f"Restore {record.id} of plan {record.plan}: {record.state}", drawn, self.children)

    def report(self) -> Report:
        """Return how long it took so far, and what in it."""
        return report(caller_ledger(), self.id)

    def watch(self, quiet: float = QUIET_SECONDS) -> Iterator[Event | None]:
        """Yield what happens, from the beginning to the end; None after each ``quiet`` seconds without news.

        None also while Redis is away, which it may be for a while once it has answered.
        """
        for events in self.watch_lists(quiet):
            if not events:
                yield None
            for event in events:
                self._seen = event.id
                yield event

    def watch_lists(self, quiet: float = QUIET_SECONDS, pace: float = _PACE) -> Iterator[list[Event]]:
        """Yield the same in lists, empty ones for None; with news one in ``pace`` seconds at most."""
        answered = None
        while True:
            try:
                final = self.status.state in FINAL_RESTORE_STATES
                events = caller_ledger().events(self.id, self._seen, wait=None if final else quiet)
            except LedgerUnavailableError:
                if answered is None or time.monotonic() - answered > _LONGEST_OUTAGE:
                    raise
                yield []
                continue
            answered = time.monotonic()
            if final and not events:
                return
            yield events
            if events:
                self._seen = events[-1].id
                time.sleep(0 if final else pace)

    def wait(self, timeout: float | None = None) -> RestoreRecord:
        """Wait for the end and return how it ended; TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        for _ in self.watch(quiet=QUIET_SECONDS if timeout is None else min(1.0, timeout)):
            if time.monotonic() > deadline and (state := self.status.state) not in FINAL_RESTORE_STATES:
                raise TimeoutError(f"restore {self.id} is still {state} after {timeout} seconds")
        ended = self.status
        if self.export is not None and ended.state is RestoreState.COMPLETE and (hots := self.templates):
            write_hots(hots, self.export)
        return ended

    def resume(self) -> None:
        """Go on with what is not restored yet; no effect if it goes on, or nothing is left.

        This and the following raise RestoreError where `restore_worker.states.VERBS` refuses them.
        """
        check_sender()
        self._ask(Verb.RESUME, lambda _record, _to: caller_ledger().resume(self.id) > 0)
        record = self.status
        if record.state is RestoreState.PENDING:
            start(self.id, record.epoch)

    def cancel(self) -> None:
        """Stop the restore: nothing new is begun, what was made stays; no effect if it is cancelled already."""
        self._ask(Verb.CANCEL, functools.partial(self._move, reason="cancelled by its user"))

    def destroy(self) -> None:
        """Have all deleted that the restore made, its stacks first; `watch` and `wait` see it through."""
        self._ask_from_now_on(Verb.DESTROY)

    def forget(self) -> None:
        """Have the stacks deleted but nothing of what they built: the application stays, out of Heat's hands."""
        self._ask_from_now_on(Verb.FORGET)

    def complaints(self) -> list[str]:
        """Return what is missing for the restore to move: a worker on a queue it needs, or beat."""
        left = (each for each in self.resources if each.state not in SETTLED_RESOURCE_STATES)
        return attendance.missing(caller_ledger(), {QUEUE, RECONCILE_QUEUE, *(each.node.queue for each in left)})

    def _ask_from_now_on(self, verb: Verb) -> None:
        """Ask, and have `watch` tell only what happens from now on."""
        past = [self._seen, *(event.id for event in caller_ledger().events(self.id, self._seen))]
        self._ask(verb, self._move)
        self._seen = past[-1]

    def _ask(self, verb: Verb, go: Callable[[RestoreRecord, RestoreState], bool]) -> None:
        """Do what the table says of a verb, once.

        go: takes the restore from where it stands to a state; False if it does not stand there any more.
        """
        while True:
            record = self.status
            match VERBS[verb][record.state]:
                case Already():
                    return
                case Refused(why):
                    raise RestoreError(f"restore {self.id} is {record.state}: {why}")
                case Goes(to, unless):
                    for obstacle in unless:
                        if self._has(obstacle, record):
                            raise RestoreError(f"restore {self.id} is {record.state}: {obstacle}")
                    if go(record, to):
                        return
            # Somebody else was faster, or the answer was lost: what holds now?

    def _has(self, obstacle: Obstacle, record: RestoreRecord) -> bool:
        match obstacle:
            case Obstacle.DISCARDED:
                return record.discarded
            case Obstacle.NO_CLOUD:
                return not (record.cloud and record.identity)
            case Obstacle.NO_STACK:
                return not any(log.id for log in self.stacks.values())
            case Obstacle.DRILL:
                return record.ttl > 0

    def _move(self, record: RestoreRecord, to: RestoreState, reason: str = "") -> bool:
        return caller_ledger().move(self.id, record.state, to, reason)


def caller_ledger() -> Ledger:
    """Return the ledger in the Redis that the environment names, for one who waits for its answer."""
    return _connected(settings.load())


@functools.lru_cache(maxsize=4)
def _connected(current: Settings) -> Ledger:
    from restore_worker.ledger import connect

    # Somebody waits for the answer: that Redis is not there shall be told soon.
    return connect(current, retries=4)


def check_sender() -> None:
    """Return if messages can be made here; RestoreError if the keys to sign them are unusable."""
    # Importing it reads celeryconfig.py and what that names.
    import restore_worker.app  # noqa: F401 - to import it is the check


def start(restore_id: str, epoch: int) -> None:
    """Send the first message of an epoch; if Redis does not take it, the reconciler will send it."""
    from kombu.exceptions import OperationalError

    from restore_worker import canvas
    from restore_worker.app import app

    try:
        canvas.send_preflight(app, restore_id, epoch)
    except OperationalError as error:
        # It is written down, and the reconciler sends what is overdue: a second submit would do it twice.
        logger.warning("restore %s begins later, since its first message was not sent: %s", restore_id, error)
