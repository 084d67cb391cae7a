"""What the ledger in memory knows of restores' stacks: what ``stack_ledger.lua`` must do, in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from restore_worker.entries import Built, StackLog
from restore_worker.stack_ledger import Begun, StackChange
from restore_worker.states import RestoreState
from tests.support.twin_reader import Restore

# Heat works on the stack.
FOLLOWED_RESTORE_STATES = frozenset({RestoreState.CREATING, RestoreState.DESTROYING, RestoreState.FORGETTING})


class StackTwin:
    """The same doors as `restore_worker.stack_ledger.StackLedger`.

    find: gives a restore by its id.
    note: writes an event of a restore.
    """

    def __init__(self, find: Callable[[str], Restore | None], note: Callable[..., None]) -> None:
        # Of the restores that are followed.
        self.ids: set[str] = set()
        self._find = find
        self._note = note
        self._polling = False

    def get(self, restore_id: str, number: int = 0) -> StackLog:
        restore = self._find(restore_id)
        return restore.stacks[number].log if restore else StackLog()

    def any(self, restore_id: str) -> bool:
        restore = self._find(restore_id)
        return any(each.log.id for each in restore.stacks.values()) if restore else False

    def built(self, restore_id: str, number: int | None = None) -> list[Built]:
        restore = self._find(restore_id)
        stacks = restore.stacks.items() if restore else ()
        return sorted(each for of, stack in stacks if number in (None, of) for each in stack.built.values())

    def followed(self) -> list[str]:
        return sorted(self.ids)

    @contextmanager
    def polling(self, _seconds: float) -> Iterator[bool]:
        held, self._polling = not self._polling, True
        try:
            yield held
        finally:
            # Also of one that dies: the time until its lock ends is nothing here.
            self._polling = self._polling and not held

    def begin(
        self, restore_id: str, state: RestoreState, mark: str, *, keep: bool, number: int = 0
    ) -> Begun | None:
        restore = self._in(restore_id, state)
        if restore is None:
            return None
        stack = restore.stacks[number]
        if stack.began != restore.entered:
            if not keep:
                return Begun(mark, asked=False)
            stack.began, stack.before = restore.entered, mark
        return Begun(stack.before, stack.asked == restore.entered, stack.finished == restore.entered)

    def asked(self, restore_id: str, state: RestoreState, stack_id: str, *, number: int = 0) -> bool:
        restore = self._in(restore_id, state)
        if restore is None or restore.stacks[number].began != restore.entered:
            return False
        restore.stacks[number].asked = restore.entered
        restore.stacks[number].tell(id=stack_id)
        return True

    def rest(self, restore_id: str, state: RestoreState, total: int, finished: int) -> bool:
        restore = self._in(restore_id, state)
        if restore is None:
            return True
        ends = [restore.stacks[number].finished for number in range(1, total + 1)]
        if ends.count(restore.entered) != finished:
            return False
        restore.stacks[0].asked = restore.entered
        return True

    def observe(
        self,
        restore_id: str,
        state: RestoreState,
        log: StackLog,
        changes: Iterable[StackChange],
        built: Iterable[Built],
        *,
        seen_before: str,
        number: int = 0,
    ) -> bool:
        restore = self._in(restore_id, state)
        if restore is None or restore.stacks[number].log.seen != seen_before:
            return False
        restore.stacks[0].told = None
        restore.stacks[number].tell(id=log.id, status=log.status, reason=log.reason, seen=log.seen)
        restore.stacks[number].built |= {each.name: each for each in built}
        for change in changes:
            told = change._asdict()
            self._note(
                restore, "stack", None, **{key: each for key, each in told.items() if key != "time" or each}
            )
        return True

    def finish(self, restore_id: str, state: RestoreState, outputs: Mapping[str, str], *, number: int = 0) -> None:
        restore = self._in(restore_id, state)
        if restore is not None:
            restore.stacks[number].finished = restore.entered
            restore.stacks[number].tell(outputs=dict(outputs))
            if number:
                restore.stacks[0].asked = None

    def tell(self, restore_id: str, state: RestoreState, reason: str) -> None:
        restore = self._in(restore_id, state)
        if restore is not None and restore.stacks[0].told != reason:
            restore.stacks[0].told = reason
            self._note(restore, "waiting", None, reason=reason)

    def gone(self, restore_id: str, state: RestoreState, *, keep: bool, number: int = 0) -> None:
        restore = self._in(restore_id, state)
        if restore is not None:
            stack = restore.stacks[number]
            stack.log, stack.finished = StackLog(status="DELETE_COMPLETE"), None
            if not keep:
                stack.built.clear()

    def unfollow(self, restore_id: str, state: RestoreState | None) -> None:
        restore = self._find(restore_id)
        if (restore.state if restore else None) is state:
            self.ids.discard(restore_id)

    def _in(self, restore_id: str, state: RestoreState) -> Restore | None:
        restore = self._find(restore_id)
        return restore if restore is not None and restore.state is state else None
