"""A submitted restore, seen from outside: how it stands, and what may be done to it."""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restore_worker import attendance, settings
from restore_worker.attendance import QUIET_SECONDS
from restore_worker.belongings import Belonging, belongings, titles
from restore_worker.entries import (
    QUEUE,
    RECONCILE_QUEUE,
    Event,
    ResourceProgress,
    RestoreRecord,
    StackLog,
)
from restore_worker.errors import LedgerUnavailableError, RestoreError
from restore_worker.export import write_hot
from restore_worker.plan import Finding
from restore_worker.settings import Settings
from restore_worker.states import FINAL_RESTORE_STATES, SETTLED_RESOURCE_STATES, RestoreState, may_follow
from restore_worker.template import Hot

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger

logger = logging.getLogger(__name__)

# Seconds between two looks at a restore with news: hundreds of looks a second would slow it down.
_PACE = 0.05
# Seconds in which Redis may be restarted, or a replica take over, while somebody follows a restore.
_LONGEST_OUTAGE = 120.0
# Why nothing can be done to a restore any more.
_OVER = {
    RestoreState.DESTROYED: "all that it made is deleted already",
    RestoreState.FORGOTTEN: "what it built is no stack any more, and is deleted like anything else on that cloud",
}


@dataclass(slots=True)
class Restore:
    """A submitted restore, seen from outside.

    export: where `wait` writes the template.
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
    def template(self) -> Hot | None:
        """The template with the values of its parameters; None if there is none (yet)."""
        return caller_ledger().template(self.id)

    @property
    def stack(self) -> StackLog:
        """What is known of its stack."""
        return caller_ledger().stacks.get(self.id)

    @property
    def belongings(self) -> list[Belonging]:
        """What exists on the target because of it: what was built, under its original and its new id."""
        return belongings(caller_ledger(), self.id)

    @property
    def titles(self) -> dict[str, str]:
        """What a person calls the resources of its stack, by their names in the template."""
        return titles(caller_ledger(), self.id)

    @property
    def findings(self) -> list[Finding]:
        """What comes back differently or not at all."""
        return [Finding(*each) for each in json.loads(caller_ledger().findings(self.id))]

    def watch(self, quiet: float = QUIET_SECONDS) -> Iterator[Event | None]:
        """Yield what happens, from the beginning to the end; None after each ``quiet`` seconds without news.

        None also while Redis is away, which it may be for a while once it has answered.
        """
        answered = None
        while True:
            try:
                final = self.status.state in FINAL_RESTORE_STATES
                events = caller_ledger().events(self.id, self._seen, wait=None if final else quiet)
            except LedgerUnavailableError:
                if answered is None or time.monotonic() - answered > _LONGEST_OUTAGE:
                    raise
                yield None
                continue
            answered = time.monotonic()
            for event in events:
                self._seen = event.id
                yield event
            if final and not events:
                return
            if not events:
                yield None
            elif not final:
                time.sleep(_PACE)

    def wait(self, timeout: float | None = None) -> RestoreRecord:
        """Wait for the end and return how it ended; TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        for _ in self.watch(quiet=QUIET_SECONDS if timeout is None else min(1.0, timeout)):
            if time.monotonic() > deadline and (state := self.status.state) not in FINAL_RESTORE_STATES:
                raise TimeoutError(f"restore {self.id} is still {state} after {timeout} seconds")
        ended = self.status
        hot = self.template
        if self.export is not None and hot is not None and ended.state is RestoreState.COMPLETE:
            write_hot(hot, self.export)
        return ended

    def resume(self) -> None:
        """Go on with what is not restored yet.

        RestoreError unless the restore has failed or was cancelled, or if what it built is partly destroyed.
        """
        check_sender()
        epoch = caller_ledger().resume(self.id)
        if not epoch:
            raise RestoreError(
                f"restore {self.id} is {self.status.state}: only a failed or cancelled one is resumed, "
                "and none of which anything was destroyed"
            )
        start(self.id, epoch)

    def cancel(self) -> None:
        """Stop the restore: nothing new is begun, what was made stays; RestoreError if it has ended already."""
        while may_follow(state := self.status.state, RestoreState.CANCELLED):
            if caller_ledger().move(self.id, state, RestoreState.CANCELLED, "cancelled by its user"):
                return
        raise RestoreError(f"restore {self.id} is {state}: there is nothing to cancel")

    def destroy(self) -> None:
        """Have all deleted that the restore made, the stack first; `watch` and `wait` see it through.

        RestoreError if it still runs, made nothing, or let the application go.
        """
        record = self._ended("destroyed")
        if not record.cloud or not record.identity:
            raise RestoreError(f"restore {self.id} never came to a cloud: there is nothing to destroy")
        self._move(record, RestoreState.DESTROYING)

    def forget(self) -> None:
        """Have the stack deleted but nothing of what it built: the application stays, out of Heat's hands.

        RestoreError unless the restore is complete and has a stack.
        """
        record = self._ended("forgotten")
        if record.state is not RestoreState.COMPLETE:
            raise RestoreError(f"restore {self.id} is {record.state}: only a complete one is forgotten")
        if not self.stack.id:
            raise RestoreError(f"restore {self.id} has no stack: there is nothing to forget")
        self._move(record, RestoreState.FORGETTING)

    def complaints(self) -> list[str]:
        """Return what is missing for the restore to move: a worker on a queue it needs, or beat."""
        left = (each for each in self.resources if each.state not in SETTLED_RESOURCE_STATES)
        return attendance.missing(caller_ledger(), {QUEUE, RECONCILE_QUEUE, *(each.node.queue for each in left)})

    def _ended(self, verb: str) -> RestoreRecord:
        record = self.status
        if record.state not in FINAL_RESTORE_STATES:
            first = "cancel it" if may_follow(record.state, RestoreState.CANCELLED) else "wait for its end"
            raise RestoreError(f"restore {self.id} is {record.state}: {first} before it is {verb}")
        if record.state in _OVER:
            raise RestoreError(f"restore {self.id} is {record.state}: {_OVER[record.state]}")
        return record

    def _move(self, record: RestoreRecord, state: RestoreState) -> None:
        for event in caller_ledger().events(self.id, self._seen):
            self._seen = event.id  # `watch` tells only what happens from now on
        if not caller_ledger().move(self.id, record.state, state):
            raise RestoreError(f"restore {self.id} is {self.status.state} by now: somebody else was faster")


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
    import restore_worker.app  # noqa: F401


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
