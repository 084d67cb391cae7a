"""Follows all stacks that Heat works on, in rounds, until they are what the restores want of them.

Nobody waits for Heat anywhere else. Two rounds at the same time do no harm: each restore goes from state to state
once, and what two saw is noted once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from restore_worker.building import same_cloud
from restore_worker.entries import RestoreRecord, stack_name
from restore_worker.errors import LedgerUnavailableError, RestoreError, UnknownRestoreError
from restore_worker.ledger import Ledger
from restore_worker.stack import Heat, Stack
from restore_worker.stack_look import COMPLETE, StackLook
from restore_worker.states import RestoreState

logger = logging.getLogger(__name__)

# Heat ends by its own timeout; beyond that it is given up after so much more.
_GRACE = timedelta(minutes=5)
# A creation that was cancelled may just be on its way to Heat, and what Heat has begun comes to its end: so long.
_LAGGARDS = timedelta(minutes=15)


def poll(ledger: Ledger, minutes: int) -> Iterator[tuple[str, RestoreState]]:
    """Make one round over all restores; yield the ids of those whose step is due again, with their states.

    Those are `DISCARDING`, when all stacks are deleted, and `CREATING`, when a stack can be asked for that waited.
    minutes: how long Heat may work on a stack.
    """
    for (name, identity), records in _by_target(ledger).items():
        try:
            same_cloud(name, identity)
            heat = Heat(name)
            stacks = heat.ours([stack_name(each.id, number) for each in records for number in each.stacks])
        except RestoreError as error:
            for record in records:
                _tell(ledger, record, _limit(record, minutes), error)
            continue
        for record in records:
            limit = _limit(record, minutes)
            try:
                due = _Follower(ledger, heat, record, stacks, limit).step()
                if due is not None:
                    yield record.id, due
            except RestoreError as error:
                _tell(ledger, record, limit, error)
            except Exception as error:
                # The others are not to suffer from it.
                logger.exception(
                    "stack of %s", record.id, extra={"fact": "stack.unforeseen", "restore": record.id}
                )
                _tell(ledger, record, limit, RestoreError(f"unforeseen: {error!r}"))


def _limit(record: RestoreRecord, minutes: int) -> timedelta:
    """Return how long a restore may be at Heat."""
    return timedelta(minutes=minutes) * record.turns + _GRACE


def _by_target(ledger: Ledger) -> dict[tuple[str, str], list[RestoreRecord]]:
    """Return what is followed by cloud and identity: of one name, restores may mean different clouds."""
    found: dict[tuple[str, str], list[RestoreRecord]] = {}
    for restore_id in ledger.stacks.followed():
        try:
            record = ledger.get(restore_id)
        except UnknownRestoreError:
            ledger.stacks.unfollow(restore_id, None)
            continue
        except LedgerUnavailableError:
            raise
        except Exception:
            # The others are not to suffer from it.
            fields = {"fact": "restore.unreadable", "restore": restore_id}
            logger.exception("restore %s is unreadable", restore_id, extra=fields)
            continue
        found.setdefault((record.cloud, record.identity), []).append(record)
    return found


def _tell(ledger: Ledger, record: RestoreRecord, limit: timedelta, error: RestoreError) -> None:
    """Tell what the restore waits for; when it has waited for too long, that is how it ends."""
    ledger.stacks.tell(record.id, record.state, str(error))
    if _age(record) <= limit:
        return
    if record.state in _GIVEN_UP:
        again = f"; once that is mended, {_AGAIN[record.state]}" if record.state in _AGAIN else ""
        ledger.move(record.id, record.state, _GIVEN_UP[record.state], f"given up after {limit}: {error}{again}")
    else:
        ledger.stacks.unfollow(record.id, record.state)


_GIVEN_UP = {
    RestoreState.CREATING: RestoreState.FAILED,
    RestoreState.DESTROYING: RestoreState.FAILED,
    # The application is as it was.
    RestoreState.FORGETTING: RestoreState.COMPLETE,
}
# How what was given up is gone on with, where `resume` is not the way.
_AGAIN = {RestoreState.DESTROYING: "destroy again", RestoreState.FORGETTING: "forget again"}


def _age(record: RestoreRecord) -> timedelta:
    return datetime.now(UTC) - record.updated


class _Follower:
    """One look at the stacks of one restore. listed: what Heat has of those and of others, by name."""

    def __init__(
        self, ledger: Ledger, heat: Heat, record: RestoreRecord, listed: Mapping[str, Stack], limit: timedelta
    ) -> None:
        self._ledger = ledger
        self._record = record
        self._limit = limit
        self._looks = {
            number: StackLook(ledger, heat, record, number, listed.get(stack_name(record.id, number)))
            for number in record.stacks
        }

    def step(self) -> RestoreState | None:
        """Do what is to be done next; return the state of which the step is due again, if one is."""
        match self._record.state:
            case RestoreState.CREATING:
                return self._create()
            case RestoreState.DESTROYING:
                return self._destroy()
            case RestoreState.FORGETTING:
                self._forget()
            case RestoreState.CANCELLED | RestoreState.FAILED:
                self._stop()
        return None

    def _create(self) -> RestoreState | None:
        ends = {number: look.create() for number, look in self._looks.items()}
        complete = {number for number, end in ends.items() if end == COMPLETE}
        failed = [end for end in ends.values() if end not in (None, COMPLETE)]
        # Those that Heat works on, and those that it is about to be asked for, go on though another has failed.
        left = [
            number
            for number, others in self._record.stacks.items()
            if ends[number] is None and (self._looks[number].asked or complete.issuperset(others))
        ]
        if len(complete) == len(ends):
            self._move(RestoreState.COMPLETE)
        elif not left:
            self._move(RestoreState.FAILED, "; ".join(map(str, failed)))
        elif _age(self._record) > self._limit:
            for number in left:
                self._looks[number].cancel()
            names = ", ".join(stack_name(self._record.id, number) for number in left)
            self._move(RestoreState.FAILED, f"Heat was not done with stack {names} after {self._limit}")
        elif any(look.just_finished for look in self._looks.values()) and len(complete) + len(failed) < len(ends):
            return RestoreState.CREATING
        return None

    def _destroy(self) -> RestoreState | None:
        gone: set[int] = set()
        # What was taken over from a stack goes before that stack.
        for number in sorted(self._record.stacks, reverse=True):
            users = {user for user, others in self._record.stacks.items() if number in others}
            if gone.issuperset(users) and self._looks[number].destroy():
                gone.add(number)
        if len(gone) == len(self._looks):
            return RestoreState.DISCARDING if self._move(RestoreState.DISCARDING) else None
        self._give_up()
        return None

    def _forget(self) -> None:
        looks = self._looks.values()
        # As long as one could not be marked to stay, none is deleted.
        marked = [look.mark() for look in looks]
        if all(marked):
            gone = [look.let_go() for look in looks]
            if all(gone):
                self._move(RestoreState.FORGOTTEN)
                return
        self._give_up()

    def _stop(self) -> None:
        """Stop what Heat does for a restore that has ended, and see to its end what it has begun."""
        busy = [look.stop() for look in self._looks.values()]
        # Most have failed because their stack did, once nothing was under way.
        over = self._record.state is RestoreState.FAILED and not any(
            look.unfinished() for look in self._looks.values()
        )
        if not any(busy) and (over or _age(self._record) > _LAGGARDS):
            self._ledger.stacks.unfollow(self._record.id, self._record.state)

    def _give_up(self) -> None:
        """End what Heat comes to no end with, unless it has just ended otherwise."""
        if _age(self._record) > self._limit:
            state = self._record.state
            advice = f"{_AGAIN[state]}, and if that does not help, have the cloud's operator look at the stack"
            left = ", ".join(look.name for look in self._looks.values() if not look.gone)
            self._move(_GIVEN_UP[state], f"Heat was not done with stack {left} after {self._limit}: {advice}")

    def _move(self, state: RestoreState, reason: str = "") -> bool:
        return self._ledger.move(self._record.id, self._record.state, state, reason)
