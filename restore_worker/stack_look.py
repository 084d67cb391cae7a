"""One look at one stack of a restore: it notes what Heat says of it, and asks Heat for what is to be done next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from restore_worker.belongings import titles
from restore_worker.entries import Built, RestoreRecord, StackLog, stack_name
from restore_worker.ledger import Ledger
from restore_worker.stack import Heat, Stack
from restore_worker.stack_ledger import Begun, StackChange
from restore_worker.states import RestoreState

# Reasons that are told with a failed stack; the rest is counted.
_TOLD = 5
# So Heat says that a service did not accept the user's token any more.
_EXPIRED = "(HTTP 401)"
_TO_LAST = (
    "; if the token that Heat was given ended before Heat was done, have the cloud's operator set "
    "reauthentication_auth_method = trusts in heat.conf, or let tokens last longer"
)
# How a creation ends that does not fail.
COMPLETE = ""


class StackLook:
    """One look at one stack of a restore. listed: the stack, None if the list of all does not have it.

    asked: whether Heat was asked for what the restore wants of the stack now.
    just_finished: whether the creation was found complete by this look.
    gone: whether the stack is not there (any more).
    """

    def __init__(
        self, ledger: Ledger, heat: Heat, record: RestoreRecord, number: int, listed: Stack | None
    ) -> None:
        self._ledger = ledger
        self._heat = heat
        self._record = record
        self._number = number
        self._listed = listed
        self.name = stack_name(record.id, number)
        self.asked = False
        self.just_finished = False
        self.gone = False

    def create(self) -> str | None:
        """Return why the creation failed, "" if it is complete, None if it goes on or is still to come."""
        begun = self._begun(keep=False)
        self.asked = begun is not None and begun.asked
        if begun is None or not begun.asked:
            return None  # create_stack is still to come
        if begun.finished:
            return COMPLETE
        stack = self._listed or self._deleted()
        if stack is None or stack.status == "DELETE_COMPLETE":
            self._note_gone(keep=False)
            return f"stack {self.name} was deleted by somebody else: resume makes another"
        known = self._log().status
        self._observe(stack)
        if stack.complete:
            outputs = self._heat.outputs(stack.id)
            self._ledger.stacks.finish(self._record.id, self._record.state, outputs, number=self._number)
            self.just_finished = True
            return COMPLETE
        failed = stack.mark != begun.before and self._has_failed(stack, known)
        return self._reasons(stack) if failed else None

    def cancel(self) -> None:
        """Have Heat begin nothing more."""
        if self._listed is not None:
            self._heat.cancel(self._listed.id)

    def destroy(self) -> bool:
        """Go on to delete the stack; True if it is gone."""
        begun = self._begun(keep=True)
        stack = self._listed or self._deleted()
        if begun is None:
            return False
        if stack is None or stack.status == "DELETE_COMPLETE":
            self._note_gone(keep=False)
            return True
        if not begun.asked:
            self._delete(stack)
            return False
        self._observe(stack)
        if stack.failed and stack.deleted and stack.mark != begun.before:
            self._move(RestoreState.FAILED, f"destroying again may help: {self._reasons(stack)}")
        return False

    def _delete(self, stack: Stack) -> None:
        """Begin to delete the stack, unless that would not delete what it built."""
        if self._heat.retains(stack.id):
            reason = f"stack {stack.name} leaves what it built where it is, since it was to be forgotten"
            if stack.deleted:
                # It takes no updates any more, so that only its forgetting can go on.
                advice = "forget the restore, and delete its application like anything else on that cloud"
                self._move(RestoreState.COMPLETE, f"{reason}: nothing was deleted; {advice}")
            else:
                self._move(RestoreState.FAILED, f"{reason}: resume the restore, then destroy it")
            return
        self._heat.delete(stack.id)
        self._note_asked(stack)

    def mark(self) -> bool:
        """Go on to mark everything in the stack to stay; True if all is, or the stack is gone."""
        # Only what was done after the stack had come to rest can be our marking of what stays.
        begun = self._begun(keep=self._listed is None or not self._listed.busy)
        stack = self._listed or self._deleted()
        if begun is None:
            return False
        if stack is None or stack.status == "DELETE_COMPLETE":
            self._note_gone(keep=True)
            return True
        if not begun.asked:
            return self._mark(stack)
        self._observe(stack)
        if stack.failed and stack.mark != begun.before:
            self._move(RestoreState.COMPLETE, f"its stack could not be let go: {self._reasons(stack)}")
            return False
        # One that is being deleted was marked before.
        return stack.deleted or (stack.complete and stack.mark != begun.before and self._heat.retains(stack.id))

    def _mark(self, stack: Stack) -> bool:
        """Begin to mark it, unless it was marked before; True if so."""
        if not stack.deleted:
            self._heat.retain(stack.id)
        elif not self._heat.retains(stack.id):
            self._move(RestoreState.COMPLETE, f"stack {stack.name} is being deleted with what it built")
            return False
        self._note_asked(stack)
        return stack.deleted

    def let_go(self) -> bool:
        """Go on to delete the stack, in which all is marked to stay; True if it is gone."""
        if not self.gone and self._listed is not None and not self._listed.busy:
            self._heat.delete(self._listed.id)
        return self.gone

    def stop(self) -> bool:
        """Stop what Heat does; True if it still does something."""
        if self._listed is None:
            return False
        self._observe(self._listed)
        if self._listed.busy and not self._listed.deleted:
            self._heat.cancel(self._listed.id)
        return self._listed.busy

    def unfinished(self) -> bool:
        """Say whether Heat still builds resources; it goes on with those that were begun when another failed."""
        built = self._ledger.stacks.built(self._record.id, self._number)
        return any(each.status.endswith("_IN_PROGRESS") for each in built)

    def _begun(self, *, keep: bool) -> Begun | None:
        mark = self._listed.mark if self._listed else ""
        return self._ledger.stacks.begin(self._record.id, self._record.state, mark, keep=keep, number=self._number)

    def _log(self) -> StackLog:
        return self._ledger.stacks.get(self._record.id, self._number)

    def _deleted(self) -> Stack | None:
        """Return the stack that Heat does not list any more, if it has still to tell of it."""
        stack_id = self._log().id
        return self._heat.find(stack_id) if stack_id else None

    def _note_gone(self, *, keep: bool) -> None:
        self.gone = True
        self._ledger.stacks.gone(self._record.id, self._record.state, keep=keep, number=self._number)

    def _note_asked(self, stack: Stack) -> None:
        self._ledger.stacks.asked(self._record.id, self._record.state, stack.id, number=self._number)

    def _move(self, state: RestoreState, reason: str = "") -> bool:
        return self._ledger.move(self._record.id, self._record.state, state, reason)

    def _observe(self, stack: Stack) -> None:
        """Note what happened to the stack since the last look."""
        log = self._log()
        events = self._heat.events(stack.id, log.seen)
        known = set(self._ledger.stacks.built(self._record.id, self._number))
        # Heat tells that it has begun with something before it knows its id.
        nameless = any(each.status == "CREATE_IN_PROGRESS" and not each.physical_id for each in known)
        if not (events or nameless) and stack.status == log.status:
            return
        self._ledger.stacks.observe(
            self._record.id,
            self._record.state,
            StackLog(stack.id, stack.status, stack.reason, events[-1].id if events else log.seen),
            [StackChange(each.resource, each.status, each.reason, each.time) for each in events],
            [each for each in self._heat.resources(stack.id) if each not in known],
            seen_before=log.seen,
            number=self._number,
        )

    def _has_failed(self, stack: Stack, known: str) -> bool:
        """Say whether that is how it ends; known: its status at the last look."""
        # Who deletes a stack cancels its creation first: at the next look it is being deleted.
        interrupted = stack.reason.endswith("cancelled") and stack.status != known
        return stack.failed and not interrupted and not self.unfinished()

    def _reasons(self, stack: Stack) -> str:
        """Return why a stack failed: what Heat says of its resources, else of itself."""
        built = self._ledger.stacks.built(self._record.id, self._number)
        failed = [each for each in built if each.status.endswith("_FAILED")]
        reasons = _told(failed, titles(self._ledger, self._record.id)) or stack.reason
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
