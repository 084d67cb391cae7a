"""The templates are handed to Heat: once for each time that a restore comes so far, however often this runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from restore_worker.building import same_cloud
from restore_worker.cloud import connect, translated
from restore_worker.entries import Built, RestoreRecord, stack_name
from restore_worker.errors import CloudError, CloudUnavailableError, TemplateError
from restore_worker.hot import Hot
from restore_worker.ledger import Ledger
from restore_worker.registry import installed
from restore_worker.stack import Heat, Stack
from restore_worker.stack_ledger import Begun
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState

# The stack is gone, or should be.
DESTROYED = frozenset({RestoreState.DISCARDING, RestoreState.DESTROYED})


def hand_over(ledger: Ledger, record: RestoreRecord, *, minutes: int) -> int:
    """Have Heat create the restore's stacks, or go on with those that failed; what comes of it is the poller's.

    minutes: after which Heat gives up a stack.
    Returns how many it was asked for by now: one that takes over from others waits for them.
    An answer that was lost is settled by the stack itself: it is not what it was before.
    Raises CloudError if Heat refuses, CloudUnavailableError if it does not answer, or is busy with a stack.
    """
    same_cloud(record.cloud, record.identity)
    heat = Heat(record.cloud)
    if record.state in DESTROYED:
        # A copy of this task has asked for it at the last moment, and could not tell.
        for number in record.stacks:
            if (stack := heat.find(stack_name(record.id, number))) is not None:
                heat.delete(stack.id)
        return 0
    while True:
        finished: set[int] = set()
        asked = 0
        for number, others in record.stacks.items():
            if finished.issuperset(others):
                begun = _Creation(ledger, heat, record, number, minutes).ask()
                asked += 1
                if begun.finished:
                    finished.add(number)
        # Meanwhile one may have become complete.
        if len(record.stacks) == 1 or ledger.stacks.rest(
            record.id, RestoreState.CREATING, len(record.stacks), len(finished)
        ):
            return asked


@dataclass(frozen=True, slots=True)
class _Creation:
    """One stack of a restore that is to be there."""

    ledger: Ledger
    heat: Heat
    record: RestoreRecord
    number: int
    minutes: int

    def ask(self) -> Begun:
        """Have Heat create it or go on with it, unless it was asked already; return how far it was."""
        ledger, heat, record, number = self.ledger, self.heat, self.record, self.number
        stack = heat.find(stack_name(record.id, number))
        # What is under way now was begun before: this step begins when it has come to rest.
        at_rest = stack is None or not stack.busy
        mark = stack.mark if stack else ""
        begun = ledger.stacks.begin(record.id, RestoreState.CREATING, mark, keep=at_rest, number=number)
        if begun is None:
            return _NOTHING
        if begun.asked:
            return begun
        stack = self._asked(stack, begun)
        if not ledger.stacks.asked(record.id, RestoreState.CREATING, stack.id, number=number):
            # Cancelled while Heat was asked, and maybe destroyed since. One that is on its way here again finds
            # the stack: it was resumed, or Redis has lost its last second.
            state = ledger.get(record.id).state
            if state in {RestoreState.DESTROYING, *DESTROYED}:
                heat.delete(stack.id)
            elif state in FINAL_RESTORE_STATES:
                heat.cancel(stack.id)
        return begun

    def _asked(self, stack: Stack | None, begun: Begun) -> Stack:
        """Return the stack, which is as it shall be or on its way there."""
        if stack is not None and stack.mark != begun.before:
            return stack
        hot = self._template()
        if stack is None:
            self.heat.preview(self.record.id, hot)
            return self.heat.create(self.record.id, self.record.checkpoint, hot, minutes=self.minutes)
        if not _whole(self.heat, stack, hot):
            _go_on(self.heat, self.record.cloud, stack, hot, self.minutes)
        return stack

    def _template(self) -> Hot:
        """Return the template with what it takes over from other stacks among its values."""
        stacks, restore_id = self.ledger.stacks, self.record.id
        hot = self.ledger.template(restore_id, self.number)
        if hot is None:
            raise TemplateError(f"restore {restore_id} has no template to make a stack of")
        outputs = {number: stacks.get(restore_id, number).outputs for number in hot.waits_for}
        try:
            taken = {name: json.loads(outputs[number][output]) for name, (number, output) in hot.borrowed.items()}
        except KeyError as error:
            raise TemplateError(
                f"stack {stack_name(restore_id, self.number)} needs an id that no other stack tells: {error}"
            ) from None
        return replace(hot, values={**hot.values, **taken})


# The restore has gone on: there is no step of this kind any more.
_NOTHING = Begun("", asked=False)


def _whole(heat: Heat, stack: Stack, hot: Hot) -> bool:
    """Say whether all is there, of what the other stacks are now, and would be deleted with the stack.

    It would not after half a forgetting.
    """
    if not stack.complete or heat.retains(stack.id):
        return False
    return not hot.borrowed or heat.has_values(stack.id, {name: hot.values[name] for name in hot.borrowed})


def _go_on(heat: Heat, cloud: str, stack: Stack, hot: Hot, minutes: int) -> None:
    if stack.busy:
        raise CloudUnavailableError(
            f"Heat is not done yet with what stack {stack.name} did before: {stack.status}"
        )
    if stack.deleted:
        raise CloudError(f"stack {stack.name} is half deleted, and Heat mends no such stack: destroy the restore")
    _clear(cloud, heat.resources(stack.id))
    heat.update(stack.id, hot, minutes=minutes)


def _clear(cloud: str, resources: Iterable[Built]) -> None:
    """Have the plugins delete what Heat would leave lying of resources that it builds anew."""
    for each in resources:
        plugin = installed().get(each.type)
        if plugin is not None and each.status == "CREATE_FAILED" and each.physical_id:
            with translated(cloud):
                plugin.clear(each.physical_id, connect(cloud))
