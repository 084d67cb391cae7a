"""A restore's own step, such as to assemble its template: taken by one copy of its task, and tried so often."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from celery import Task
from celery.exceptions import Ignore

from restore_worker import worker
from restore_worker.attempt import LONGEST_COUNTDOWN, delay
from restore_worker.entries import Held, Idle, RestoreRecord, Taken
from restore_worker.errors import RestoreError, Retriable
from restore_worker.hot import Hot
from restore_worker.states import RestoreState
from restore_worker.stopping import WORKER_STOPPED, Stopped


@dataclass(frozen=True, slots=True)
class Step:
    """The restore's own step, taken under a token by one copy of its task."""

    task: Task
    restore_id: str
    state: RestoreState
    token: str
    attempts: int

    def finish(self, state: RestoreState, reason: str = "", hots: Sequence[Hot] = ()) -> None:
        """End the step, unless somebody else has it by now."""
        worker.current_ledger().move(self.restore_id, self.state, state, reason, hots, self.token)

    def rest(self, reason: str) -> None:
        """Let the step go, which is to be taken again later in the same state."""
        worker.current_ledger().wait(self.restore_id, None, self.token, 0.0, reason, counts=False)

    def failed(self, error: Exception, what: str, *, again: bool, counts: bool = False) -> None:
        """Have the task run again if that may help; else the restore has failed.

        again: whether it may be tried again; counts: whether this attempt is one of those that are limited.
        """
        if not (isinstance(error, Retriable) and again):
            self.finish(RestoreState.FAILED, f"{what}: {told(error)}")
            return
        # There is one a restore, and all of that waits for it.
        longest = min(worker.current_settings().lease_seconds, LONGEST_COUNTDOWN)
        seconds = delay(self.task.request.retries, error, longest)
        ledger = worker.current_ledger()
        if not ledger.wait(self.restore_id, None, self.token, seconds, str(error), counts=counts):
            raise Ignore
        raise self.task.retry(countdown=min(seconds, LONGEST_COUNTDOWN)) from None


@contextmanager
def step_of(task: Task, restore_id: str, state: RestoreState) -> Iterator[Step]:
    """Take the step of a restore that belongs to a state, and hold it until the block ends.

    Raises Retry if another copy of the task has it, Ignore if the restore has gone on.
    """
    settings, token = worker.current_settings(), uuid.uuid4().hex
    taken = worker.current_ledger().take(
        restore_id,
        state,
        token,
        lease=settings.lease_seconds,
        most_attempts=settings.max_attempts,
        worker=task.request.hostname or "",
    )
    match taken:
        case Held(seconds):
            # The other copy may die yet.
            raise task.retry(countdown=min(seconds + 1, LONGEST_COUNTDOWN))
        case Taken(attempts):
            try:
                with worker.leases().holding(restore_id, None, token):
                    yield Step(task, restore_id, state, token, attempts)
            except Stopped:
                worker.current_ledger().wait(restore_id, None, token, 0.0, WORKER_STOPPED, counts=False)
                raise task.retry(countdown=0) from None
        case Idle():
            raise Ignore


def in_time(record: RestoreRecord) -> bool:
    """Say whether the restore's step may still be tried again."""
    return datetime.now(UTC) - record.updated < timedelta(
        minutes=worker.current_settings().stack_minutes * record.turns
    )


def told(error: Exception) -> str:
    """Return an error as people read it; one that nobody foresaw with its type."""
    return str(error) if isinstance(error, RestoreError) else f"unforeseen: {error!r}"
