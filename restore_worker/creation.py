"""The template is handed to Heat: once for each time that a restore comes so far, however often this runs."""

from __future__ import annotations

from collections.abc import Iterable

from restore_worker.building import same_cloud
from restore_worker.cloud import connect, translated
from restore_worker.entries import Built, RestoreRecord
from restore_worker.errors import CloudError, CloudUnavailableError, TemplateError
from restore_worker.ledger import Ledger
from restore_worker.registry import installed
from restore_worker.stack import Heat, Stack, stack_name
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from restore_worker.template import Hot

# The stack is gone, or should be.
DESTROYED = frozenset({RestoreState.DISCARDING, RestoreState.DESTROYED})


def hand_over(ledger: Ledger, record: RestoreRecord, *, minutes: int) -> None:
    """Have Heat create the restore's stack, or go on with the one that failed; what comes of it is the poller's.

    minutes: after which Heat gives up.
    An answer that was lost is settled by the stack itself: it is not what it was before.
    Raises CloudError if Heat refuses, CloudUnavailableError if it does not answer, or is busy with the stack.
    """
    same_cloud(record.cloud, record.identity)
    heat = Heat(record.cloud)
    name = stack_name(record.id)
    stack = heat.find(name)
    if record.state in DESTROYED:
        # A copy of this task has asked for it at the last moment, and could not tell.
        if stack is not None:
            heat.delete(stack.id)
        return
    # What is under way now was begun before: this step begins when it has come to rest.
    at_rest = stack is None or not stack.busy
    begun = ledger.stacks.begin(record.id, RestoreState.CREATING, stack.mark if stack else "", keep=at_rest)
    if begun is None or begun.asked:
        return
    if stack is None or (stack.mark == begun.before and not _whole(heat, stack)):
        hot = ledger.template(record.id)
        if hot is None:
            raise TemplateError(f"restore {record.id} has no template to make a stack of")
        if stack is None:
            heat.preview(record.id, hot)
            stack = heat.create(record.id, record.checkpoint, hot, minutes=minutes)
        else:
            _go_on(heat, record.cloud, stack, hot, minutes)
    if not ledger.stacks.asked(record.id, RestoreState.CREATING, stack.id):
        # Cancelled while Heat was asked, and maybe destroyed since. One that is on its way here again finds the
        # stack: it was resumed, or Redis has lost its last second.
        state = ledger.get(record.id).state
        if state in {RestoreState.DESTROYING, *DESTROYED}:
            heat.delete(stack.id)
        elif state in FINAL_RESTORE_STATES:
            heat.cancel(stack.id)


def _whole(heat: Heat, stack: Stack) -> bool:
    """Say whether all is there, and would be deleted with the stack: not so after half a forgetting."""
    return stack.complete and not heat.retains(stack.id)


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
