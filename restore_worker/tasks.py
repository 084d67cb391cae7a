"""The tasks, as they run in workers: load, call, save.

Every task may run twice, at the same time too. A resource's task never raises and never returns before the
resource is settled, since the chord counts its return.
"""

from __future__ import annotations

import functools
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Reject
from kombu.exceptions import ChannelError, KombuError

from restore_worker import canvas, worker
from restore_worker.app import app
from restore_worker.attempt import LONGEST_COUNTDOWN, End, Pause, attempt, delay
from restore_worker.creation import DESTROYED, hand_over
from restore_worker.discarding import discard_all
from restore_worker.entries import (
    QUEUE,
    TRANSFER_QUEUE,
    Claimed,
    Held,
    Idle,
    Node,
    RestoreRecord,
    Settled,
)
from restore_worker.errors import LedgerError, RestoreError, Retriable, StaleLeaseError
from restore_worker.poller import poll
from restore_worker.preflight import check
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import assemble

logger = logging.getLogger(__name__)

# What runs every few seconds tells in the ledger what it does: Celery need not tell that it ran.
for _talker in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_talker).addFilter(
        lambda record: not (isinstance(record.args, dict) and record.args.get("name") in canvas.PERIODIC)
    )


@app.task(name=canvas.PREFLIGHT, bind=True, ignore_result=True, max_retries=None)
def preflight(self: Task, restore_id: str) -> None:
    """Look whether all that the restore will need is there; then let the first resources go."""
    ledger = worker.current_ledger()
    record = ledger.get(restore_id)
    if record.state is RestoreState.PENDING:
        ledger.move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    if record.state in {RestoreState.PENDING, RestoreState.CHECKING}:
        try:
            check(ledger, record)
        except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
            if isinstance(error, Retriable) and self.request.retries < worker.current_settings().max_attempts:
                ledger.stacks.tell(restore_id, RestoreState.CHECKING, str(error))
                raise self.retry(countdown=delay(self.request.retries)) from None
            ledger.move(restore_id, RestoreState.CHECKING, RestoreState.FAILED, f"preflight: {_told(error)}")
            return
        # Only while nothing runs yet: the size is that of the whole epoch.
        canvas.declare(app, restore_id, record.epoch, record.left)
    ready = ledger.begin(restore_id)
    if ready is None:
        return
    canvas.send_resources(app, restore_id, record.epoch, ready)
    if record.left == 0:
        canvas.send_body(app, restore_id)


@app.task(name=canvas.RESTORE_RESOURCE, bind=True, ignore_result=True, max_retries=None)
def restore_resource(self: Task, restore_id: str, index: int) -> None:
    """Restore one resource, then let go what waited for it alone."""
    try:
        _restore_resource(self, restore_id, index)
    except (LedgerError, KombuError, Reject) as error:
        # Redis is gone for longer than calls are repeated. An error would end the chord; so there is no part of it
        # now, and the reconciler sends the task again under the same id.
        logger.warning("%s/%s is left to the reconciler: %r", restore_id, index, error)
        raise Ignore from error


def _restore_resource(task: Task, restore_id: str, index: int) -> None:
    token = uuid.uuid4().hex
    settings = worker.current_settings()
    claim = worker.current_ledger().claim(
        restore_id,
        index,
        token,
        lease=settings.lease_seconds,
        most_attempts=settings.max_attempts,
        worker=task.request.hostname or "",
    )
    match claim:
        case Idle():
            return
        case Held(seconds):
            # The other copy may die yet: this one stays until the resource is settled.
            raise task.retry(countdown=min(seconds + 1, LONGEST_COUNTDOWN))
        case Claimed(epoch=epoch):
            with worker.leases().holding(restore_id, index, token):
                settled = _settle(task, claim, restore_id, token)
        case Settled():
            settled, epoch = claim, worker.current_ledger().get(restore_id).epoch
    canvas.send_resources(app, restore_id, epoch, settled.released)


def _settle(task: Task, claim: Claimed, restore_id: str, token: str) -> Settled:
    """Make one attempt and settle the resource, or raise Retry."""
    ledger = worker.current_ledger()
    index = claim.node.index
    # If somebody else has it by now: come back soon to see it settled.
    seconds = 1.0
    try:
        match attempt(claim, restore_id, token):
            case End(state, reason, fragments):
                return ledger.settle(restore_id, index, token, state, reason, fragments)
            case Pause(pause, reason, counts):
                if ledger.wait(restore_id, index, token, pause, reason, counts=counts):
                    seconds = pause
    except StaleLeaseError:
        stopped = ledger.wait(restore_id, index, token, 0.0, "the restore was stopped", counts=False)
        why = "is not wanted any more" if stopped else "was taken over by another worker"
        logger.warning("%s of %s %s", claim.node.id, restore_id, why)
    raise task.retry(countdown=seconds)


@app.task(name=canvas.ASSEMBLE, bind=True, ignore_result=True)
def assemble_template(self: Task, restore_id: str) -> None:  # noqa: ARG001 - one signature for all tasks
    """Make the template of all fragments; takes effect once, and only if nothing is left to restore."""
    worker.current_ledger().move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    record = worker.current_ledger().get(restore_id)
    # Either it has just come so far, or a copy of this task died after that step: then it is ours to finish.
    if record.state is not RestoreState.ASSEMBLING:
        raise Ignore
    finish = functools.partial(worker.current_ledger().move, restore_id, RestoreState.ASSEMBLING)
    if record.failed:
        finish(RestoreState.FAILED, _reasons(record))
        raise Ignore
    fragments = worker.current_ledger().fragments(restore_id)
    try:
        hot = assemble(fragments, record.description)
    except Exception as error:
        finish(RestoreState.FAILED, _told(error))
        raise Ignore from error
    if hot is None or not (record.cloud and record.wants_stack):
        finish(RestoreState.COMPLETE, hot=hot)
        raise Ignore
    if hot.open_parameters:
        missing = ", ".join(hot.open_parameters)
        finish(RestoreState.FAILED, f"nobody built what these parameters stand for: {missing}", hot=hot)
        raise Ignore
    finish(RestoreState.CREATING, hot=hot)


def _told(error: Exception) -> str:
    """Return an error as people read it; one that nobody foresaw with its type."""
    return str(error) if isinstance(error, RestoreError) else f"unforeseen: {error!r}"


def _reasons(record: RestoreRecord) -> str:
    failed = [each for each in worker.current_ledger().resources(record.id) if each.state is ResourceState.FAILED]
    told = "; ".join(f"{each.node.type} {each.node.name} ({each.node.id}): {each.reason}" for each in failed[:3])
    more = f" (and {len(failed) - 3} more)" if failed[3:] else ""
    return f"{record.failed} of {record.size} resources were not restored: {told}{more}"


@app.task(name=canvas.CREATE_STACK, bind=True, ignore_result=True, max_retries=None)
def create_stack(self: Task, restore_id: str) -> None:
    """Hand the template to Heat; the poller sees to the rest."""
    ledger, settings = worker.current_ledger(), worker.current_settings()
    record = ledger.get(restore_id)
    if record.state not in {RestoreState.CREATING, *DESTROYED}:
        raise Ignore
    try:
        hand_over(ledger, record, minutes=settings.stack_minutes)
    except LedgerError:
        raise  # the reconciler sends this again
    except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
        _again_or_failed(self, record, "Heat", error)


def _again_or_failed(task: Task, record: RestoreRecord, what: str, error: Exception) -> None:
    """Have the task run again if that may help and there is time left; else the restore has failed."""
    ledger, limit = worker.current_ledger(), timedelta(minutes=worker.current_settings().stack_minutes)
    if isinstance(error, Retriable) and datetime.now(UTC) - record.updated < limit:
        ledger.stacks.tell(record.id, record.state, str(error))
        raise task.retry(countdown=delay(task.request.retries)) from None
    ledger.move(record.id, record.state, RestoreState.FAILED, f"{what}: {_told(error)}")


@app.task(name=canvas.POLL_STACKS, ignore_result=True)
def poll_stacks() -> None:
    """Look how far Heat is with all stacks that it works on."""
    ledger = worker.current_ledger()
    with ledger.stacks.polling() as alone:
        if not alone:
            return
        for restore_id in poll(ledger, worker.current_settings().stack_minutes):
            canvas.send_discard(app, restore_id)


@app.task(name=canvas.DISCARD, bind=True, ignore_result=True, max_retries=None)
def discard(self: Task, restore_id: str) -> None:
    """Delete what the restore built beside its stack, once that is gone."""
    ledger = worker.current_ledger()
    record = ledger.get(restore_id)
    if record.state is not RestoreState.DISCARDING:
        raise Ignore
    try:
        discard_all(ledger, record)
    except LedgerError:
        raise  # the reconciler sends this again
    except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
        _again_or_failed(self, record, "destroy", error)
    else:
        ledger.move(restore_id, RestoreState.DISCARDING, RestoreState.DESTROYED)


@app.task(name=canvas.RECONCILE, ignore_result=True)
def reconcile() -> None:
    """Send again what was lost: a message on its way, or a worker with what it held."""
    ledger = worker.current_ledger()
    ledger.note_reconciled()
    overdue = ledger.overdue()
    if not overdue:
        return
    busy = [queue for queue in (QUEUE, TRANSFER_QUEUE) if _has_messages(queue)]
    for restore_id, index in overdue:
        found = ledger.look(restore_id, index, busy)
        if found is None:
            continue
        epoch = ledger.get(restore_id).epoch
        match found:
            case Node():
                canvas.send_resources(app, restore_id, epoch, [found])
            case RestoreState.PENDING | RestoreState.CHECKING:
                canvas.send_preflight(app, restore_id, epoch)
            case RestoreState.RESTORING | RestoreState.ASSEMBLING:
                canvas.send_body(app, restore_id)
            case RestoreState.CREATING:
                canvas.send_create_stack(app, restore_id)
            case RestoreState.DISCARDING:
                canvas.send_discard(app, restore_id)


def _has_messages(queue: str) -> bool:
    with app.connection_for_read() as connection:
        try:
            answer: Any = connection.default_channel.queue_declare(queue=queue, passive=True)
        except ChannelError:
            # To Redis, an empty queue is none.
            return False
    return bool(answer.message_count)
