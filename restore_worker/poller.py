"""Follows all stacks that Heat works on, in rounds, until they are what the restores want of them.

Nobody waits for Heat anywhere else. Two rounds at the same time do no harm: each restore goes from state to state
once, and what two saw is noted once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from restore_worker.belongings import titles
from restore_worker.building import same_cloud
from restore_worker.entries import Built, RestoreRecord, StackLog
from restore_worker.errors import LedgerUnavailableError, RestoreError, UnknownRestoreError
from restore_worker.ledger import Ledger
from restore_worker.stack import Heat, Stack, stack_name
from restore_worker.stack_ledger import Begun, StackChange
from restore_worker.states import RestoreState

logger = logging.getLogger(__name__)

# Heat ends by its own timeout; beyond that it is given up after so much more.
_GRACE = timedelta(minutes=5)
# A creation that was cancelled may just be on its way to Heat, and what Heat has begun comes to its end: so long.
_LAGGARDS = timedelta(minutes=15)
# Reasons that are told with a failed stack; the rest is counted.
_TOLD = 5
# So Heat says that a service did not accept the user's token any more.
_EXPIRED = "(HTTP 401)"
_TO_LAST = (
    "; if the token that Heat was given ended before Heat was done, have the cloud's operator set "
    "reauthentication_auth_method = trusts in heat.conf, or let tokens last longer"
)


def poll(ledger: Ledger, minutes: int) -> Iterator[str]:
    """Make one round over all restores; yield the ids of those whose stack is deleted, to discard the rest.

    minutes: how long Heat may work on a stack.
    """
    limit = timedelta(minutes=minutes) + _GRACE
    for (name, identity), records in _by_target(ledger).items():
        try:
            same_cloud(name, identity)
            heat = Heat(name)
            stacks = heat.ours()
        except RestoreError as error:
            for record in records:
                _tell(ledger, record, limit, error)
            continue
        for record in records:
            follower = _Follower(ledger, heat, record, stacks.get(stack_name(record.id)), limit)
            try:
                if follower.step():
                    yield record.id
            except RestoreError as error:
                _tell(ledger, record, limit, error)
            except Exception as error:
                # The others are not to suffer from it.
                logger.exception(
                    "stack of %s", record.id, extra={"fact": "stack.unforeseen", "restore": record.id}
                )
                _tell(ledger, record, limit, RestoreError(f"unforeseen: {error!r}"))


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


@dataclass(slots=True)
class _Follower:
    """One look at one restore's stack. stack: None if the list of all stacks does not have it."""

    ledger: Ledger
    heat: Heat
    record: RestoreRecord
    stack: Stack | None
    limit: timedelta

    def step(self) -> bool:
        """Do what is to be done next; True if the stack of a restore that is destroyed is gone."""
        match self.record.state:
            case RestoreState.CREATING:
                self._create()
            case RestoreState.DESTROYING:
                return self._destroy() or self._give_up()
            case RestoreState.FORGETTING:
                self._forget()
                self._give_up()
            case RestoreState.CANCELLED | RestoreState.FAILED:
                self._stop()
        return False

    def _create(self) -> None:
        begun = self._begun(keep=False)
        if begun is None or not begun.asked:
            return  # create_stack is still to come
        stack = self.stack or self._deleted()
        if stack is None or stack.status == "DELETE_COMPLETE":
            self.ledger.stacks.gone(self.record.id, self.record.state, keep=False)
            self._move(
                RestoreState.FAILED,
                f"stack {stack_name(self.record.id)} was deleted by somebody else: resume makes another",
            )
            return
        known = self.ledger.stacks.get(self.record.id).status
        self._observe(stack)
        if stack.complete:
            self.ledger.stacks.finish(self.record.id, self.record.state, self.heat.outputs(stack.id))
            self._move(RestoreState.COMPLETE)
        elif stack.mark != begun.before and self._has_failed(stack, known):
            self._move(RestoreState.FAILED, self._reasons(stack))
        elif _age(self.record) > self.limit:
            self.heat.cancel(stack.id)
            self._move(RestoreState.FAILED, f"Heat was not done with stack {stack.name} after {self.limit}")

    def _destroy(self) -> bool:
        begun = self._begun(keep=True)
        stack = self.stack or self._deleted()
        if begun is None:
            return False
        if stack is None or stack.status == "DELETE_COMPLETE":
            self.ledger.stacks.gone(self.record.id, self.record.state, keep=False)
            return self._move(RestoreState.DISCARDING)
        if not begun.asked:
            if self.heat.retains(stack.id):
                reason = f"stack {stack.name} leaves what it built where it is, since it was to be forgotten"
                if stack.deleted:
                    # It takes no updates any more, so that only its forgetting can go on.
                    advice = "forget the restore, and delete its application like anything else on that cloud"
                    self._move(RestoreState.COMPLETE, f"{reason}: nothing was deleted; {advice}")
                else:
                    self._move(RestoreState.FAILED, f"{reason}: resume the restore, then destroy it")
                return False
            self.heat.delete(stack.id)
            self.ledger.stacks.asked(self.record.id, self.record.state, stack.id)
            return False
        self._observe(stack)
        if stack.failed and stack.deleted and stack.mark != begun.before:
            self._move(RestoreState.FAILED, f"destroying again may help: {self._reasons(stack)}")
        return False

    def _forget(self) -> None:
        # Only what was done after the stack had come to rest can be our marking of what stays.
        begun = self._begun(keep=self.stack is None or not self.stack.busy)
        stack = self.stack or self._deleted()
        if begun is None:
            return
        if stack is None or stack.status == "DELETE_COMPLETE":
            self.ledger.stacks.gone(self.record.id, self.record.state, keep=True)
            self._move(RestoreState.FORGOTTEN)
            return
        if not begun.asked:
            self._let_go(stack)
            return
        self._observe(stack)
        if stack.complete and stack.mark != begun.before and self.heat.retains(stack.id):
            self.heat.delete(stack.id)
        elif stack.failed and stack.mark != begun.before:
            self._move(RestoreState.COMPLETE, f"its stack could not be let go: {self._reasons(stack)}")

    def _let_go(self, stack: Stack) -> None:
        """Begin to forget the stack."""
        if not stack.deleted:
            self.heat.retain(stack.id)
        elif self.heat.retains(stack.id):
            # It was let go before but could not be deleted: it takes no updates any more.
            self.heat.delete(stack.id)
        else:
            self._move(RestoreState.COMPLETE, f"stack {stack.name} is being deleted with what it built")
            return
        self.ledger.stacks.asked(self.record.id, self.record.state, stack.id)

    def _stop(self) -> None:
        """Stop what Heat does for a restore that has ended, and see to its end what it has begun."""
        if self.stack is not None:
            self._observe(self.stack)
            if self.stack.busy and not self.stack.deleted:
                self.heat.cancel(self.stack.id)
        busy = self.stack is not None and self.stack.busy
        # Most have failed because their stack did, once nothing was under way.
        over = self.record.state is RestoreState.FAILED and not self._unfinished()
        if not busy and (over or _age(self.record) > _LAGGARDS):
            self.ledger.stacks.unfollow(self.record.id, self.record.state)

    def _begun(self, *, keep: bool) -> Begun | None:
        mark = self.stack.mark if self.stack else ""
        return self.ledger.stacks.begin(self.record.id, self.record.state, mark, keep=keep)

    def _deleted(self) -> Stack | None:
        """Return the stack that Heat does not list any more, if it has still to tell of it."""
        stack_id = self.ledger.stacks.get(self.record.id).id
        return self.heat.find(stack_id) if stack_id else None

    def _give_up(self) -> Literal[False]:
        """End what Heat comes to no end with, unless it has just ended otherwise."""
        if _age(self.record) > self.limit:
            state = self.record.state
            advice = f"{_AGAIN[state]}, and if that does not help, have the cloud's operator look at the stack"
            reason = f"Heat was not done with stack {stack_name(self.record.id)} after {self.limit}: {advice}"
            self._move(_GIVEN_UP[state], reason)
        return False

    def _move(self, state: RestoreState, reason: str = "") -> bool:
        return self.ledger.move(self.record.id, self.record.state, state, reason)

    def _observe(self, stack: Stack) -> None:
        """Note what happened to the stack since the last look."""
        log = self.ledger.stacks.get(self.record.id)
        events = self.heat.events(stack.id, log.seen)
        known = set(self.ledger.stacks.built(self.record.id))
        # Heat tells that it has begun with something before it knows its id.
        nameless = any(each.status == "CREATE_IN_PROGRESS" and not each.physical_id for each in known)
        if not (events or nameless) and stack.status == log.status:
            return
        self.ledger.stacks.observe(
            self.record.id,
            self.record.state,
            StackLog(stack.id, stack.status, stack.reason, events[-1].id if events else log.seen),
            [StackChange(each.resource, each.status, each.reason, each.time) for each in events],
            [each for each in self.heat.resources(stack.id) if each not in known],
            seen_before=log.seen,
        )

    def _has_failed(self, stack: Stack, known: str) -> bool:
        """Say whether that is how it ends; known: its status at the last look."""
        # Who deletes a stack cancels its creation first: at the next look it is being deleted.
        interrupted = stack.reason.endswith("cancelled") and stack.status != known
        return stack.failed and not interrupted and not self._unfinished()

    def _unfinished(self) -> bool:
        """Say whether Heat still builds resources; it goes on with those that were begun when another failed."""
        return any(each.status.endswith("_IN_PROGRESS") for each in self.ledger.stacks.built(self.record.id))

    def _reasons(self, stack: Stack) -> str:
        """Return why a stack failed: what Heat says of its resources, else of itself."""
        failed = [each for each in self.ledger.stacks.built(self.record.id) if each.status.endswith("_FAILED")]
        reasons = _told(failed, titles(self.ledger, self.record.id)) or stack.reason
        return reasons + (_TO_LAST if _EXPIRED in reasons else "")


def _told(failed: Iterable[Built], called: Mapping[str, str]) -> str:
    """Return the reasons of resources that failed, those first that are not mere consequences of another.

    called: what people call them, by name.
    """
    ranked = sorted(failed, key=lambda each: "aborted" in each.reason)
    reasons = "; ".join(
        f"{called.get(each.name, each.type)} ({each.name}): {' '.join(each.reason.split())}"
        for each in ranked[:_TOLD]
    )
    more = f" (and {len(ranked) - _TOLD} more)" if ranked[_TOLD:] else ""
    return reasons + more
