"""The tasks, as they run in workers: load, call, save.

Every task may run twice, at the same time too. A resource's task never raises and never returns before the
resource is settled, since the chord counts its return.
"""

from __future__ import annotations

import gc
import itertools
import logging
import uuid
from collections.abc import Iterable, Mapping

from celery import Task
from celery.exceptions import Ignore, Reject
from celery.signals import task_postrun, worker_ready
from kombu.exceptions import KombuError

from restore_worker import canvas, worker
from restore_worker.app import app
from restore_worker.attempt import LONGEST_COUNTDOWN, End, Pause, attempt, delay, limits
from restore_worker.creation import DESTROYED, hand_over
from restore_worker.discarding import discard_all
from restore_worker.drills import delete_due
from restore_worker.entries import (
    QUEUE,
    TRANSFER_QUEUE,
    Claimed,
    Ended,
    Held,
    Idle,
    Priority,
    RestoreRecord,
    Settled,
)
from restore_worker.errors import CloudUnavailableError, LedgerError, LedgerUnavailableError, StaleLeaseError
from restore_worker.facts import about
from restore_worker.hot import assemble
from restore_worker.ledger import Ledger
from restore_worker.notification import tell_all
from restore_worker.poller import poll
from restore_worker.preflight import check
from restore_worker.shutdown import Shutdown
from restore_worker.states import ResourceState, RestoreState
from restore_worker.step import Step, in_time, step_of, told
from restore_worker.stopping import WORKER_STOPPED, Stopped

logger = logging.getLogger(__name__)

app.steps["worker"].add(Shutdown)

# Tasks that a process has ended, and after how many of them it collects what they left in cycles.
_ended = itertools.count(1)
_COLLECT_AFTER = 50


@task_postrun.connect
def collect(**_: object) -> None:
    """Free what is left of errors that end a task, such as Ignore and Retry: cycles, and what their frames hold.

    Python itself waits until a quarter as many objects have come as were imported: that is thousands of tasks, and
    a process is tens of megabytes larger then. What is there after the first tasks is not looked at again.
    """
    number = next(_ended)
    if number % _COLLECT_AFTER == 0:
        gc.collect()
    if number == _COLLECT_AFTER:
        gc.freeze()


@worker_ready.connect
def look_at_once(**_: object) -> None:
    """Reconcile once when a worker starts: beat may be away."""
    app.send_task(canvas.RECONCILE, expires=5.0, ignore_result=True)


@app.task(name=canvas.PREFLIGHT, bind=True, ignore_result=True, max_retries=None)
def preflight(self: Task, restore_id: str) -> None:
    """Look whether all that the restore will need is there; then let the first resources go."""
    ledger = worker.current_ledger()
    record = ledger.get(restore_id)
    if record.state is RestoreState.PENDING:
        ledger.move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    if record.state in {RestoreState.PENDING, RestoreState.CHECKING}:
        with step_of(self, restore_id, RestoreState.CHECKING) as step:
            try:
                with worker.attempts().running():
                    check(ledger, record)
            except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
                again = step.attempts < worker.current_settings().max_attempts
                step.failed(error, "preflight", again=again, counts=True)
                return
            # Only while nothing runs yet: the size is that of the whole epoch.
            canvas.declare(app, restore_id, record.epoch, record.left)
    ready = ledger.begin(restore_id, record.epoch)
    if ready is None:
        return
    canvas.send_resources(app, restore_id, record.epoch, ready, record.priority)
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
        fields = {"fact": "resource.left", "index": index}
        logger.warning("left to the reconciler: %r", error, extra=fields)
        raise Ignore from error


def _restore_resource(task: Task, restore_id: str, index: int) -> None:
    token = uuid.uuid4().hex
    settings = worker.current_settings()
    claim = worker.current_ledger().claim(
        restore_id,
        index,
        token,
        lease=settings.lease_seconds,
        limits=limits(),
        worker=task.request.hostname or "",
    )
    match claim:
        case Idle():
            # No part of its chord, which is over: that part would be kept for days.
            raise Ignore
        case Held(seconds):
            # The other copy may die yet: this one stays until the resource is settled.
            raise task.retry(countdown=min(seconds + 1, LONGEST_COUNTDOWN))
        case Claimed():
            about.set({"restore": restore_id, "resource": claim.node.id, "type": claim.node.type})
            with worker.leases().holding(restore_id, index, token):
                _send_drawn(restore_id, claim)
                settled = _settle(task, claim, restore_id, token)
        case Settled():
            settled = claim
    canvas.send_resources(app, restore_id, settled.epoch, settled.released, settled.priority)


def _send_drawn(restore_id: str, claim: Claimed) -> None:
    """Send what comes in the place of a resource; what is lost of it says nothing of that one."""
    try:
        canvas.send_resources(app, restore_id, claim.epoch, claim.drawn, claim.priority)
    except KombuError as error:
        fields = {"fact": "resource.left", "count": len(claim.drawn)}
        logger.warning("those that come next are left to the reconciler: %r", error, extra=fields)


def _settle(task: Task, claim: Claimed, restore_id: str, token: str) -> Settled:
    """Make one attempt and settle the resource, or raise Retry."""
    ledger = worker.current_ledger()
    index = claim.node.index
    # If somebody else has it by now: come back soon to see it settled.
    seconds = 1.0
    try:
        with worker.attempts().running():
            outcome = attempt(claim, restore_id, token)
            if not (isinstance(outcome, End) and outcome.state is ResourceState.DONE):
                # What broke because this worker ends says nothing of the resource.
                worker.attempts().go_on()
        match outcome:
            case End(state, reason, fragments):
                return ledger.settle(restore_id, index, token, state, reason, fragments)
            case Pause(pause, reason, counts):
                if ledger.wait(restore_id, index, token, pause, reason, counts=counts, still=not counts):
                    seconds = pause
    except Stopped:
        ledger.wait(restore_id, index, token, 0.0, WORKER_STOPPED, counts=False)
        seconds = 0.0
    except StaleLeaseError:
        stopped = ledger.wait(restore_id, index, token, 0.0, "the restore was stopped", counts=False)
        why = "is not wanted any more" if stopped else "was taken over by another worker"
        logger.warning("%s %s", claim.node.type, why, extra={"fact": "resource.lost"})
    raise task.retry(countdown=min(seconds, LONGEST_COUNTDOWN))


@app.task(name=canvas.ASSEMBLE, bind=True, ignore_result=True, max_retries=None)
def assemble_template(self: Task, restore_id: str) -> None:
    """Make the template of all fragments; takes effect once, and only if nothing is left to restore."""
    worker.current_ledger().move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    # Either it has just come so far, or a copy of this task died after that step: then it is ours to finish.
    with step_of(self, restore_id, RestoreState.ASSEMBLING) as step:
        _assemble(step, worker.current_ledger().get(restore_id))


def _assemble(step: Step, record: RestoreRecord) -> None:
    """Take the restore on to its stack, or to its end if there will be none."""
    canvas.close(app, record.id, record.epoch)
    if record.failed:
        step.finish(RestoreState.FAILED, _reasons(record))
        return
    ledger = worker.current_ledger()
    try:
        # What stacks were made of already is not cut anew: they would lose to each other what they have.
        hots = ledger.templates(record.id) if ledger.stacks.any(record.id) else ()
        hots = hots or assemble(ledger.fragments(record.id), record.description, record.limits)
    except LedgerError:
        raise  # the reconciler sends this again
    except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
        step.finish(RestoreState.FAILED, told(error))
        return
    missing = dict.fromkeys(name for hot in hots for name in hot.open_parameters)
    if not hots or not (record.cloud and record.wants_stack):
        step.finish(RestoreState.COMPLETE, hots=hots)
    elif missing:
        step.finish(
            RestoreState.FAILED, f"nobody built what these parameters stand for: {', '.join(missing)}", hots
        )
    else:
        step.finish(RestoreState.CREATING, hots=hots)


def _reasons(record: RestoreRecord) -> str:
    failed = [each for each in worker.current_ledger().resources(record.id) if each.state is ResourceState.FAILED]
    told = "; ".join(f"{each.node.type} {each.node.name} ({each.node.id}): {each.reason}" for each in failed[:3])
    more = f" (and {len(failed) - 3} more)" if failed[3:] else ""
    return f"{record.failed} of {record.size} resources were not restored: {told}{more}"


@app.task(name=canvas.CREATE_STACK, bind=True, ignore_result=True, max_retries=None)
def create_stack(self: Task, restore_id: str) -> None:
    """Hand the templates to Heat; the poller sees to the rest, and sends this again for those that waited."""
    ledger, minutes = worker.current_ledger(), worker.current_settings().stack_minutes
    record = ledger.get(restore_id)
    if record.state in DESTROYED:
        # A copy of this task may have asked for the stack at the last moment.
        try:
            hand_over(ledger, record, minutes=minutes)
        except CloudUnavailableError as error:
            raise self.retry(countdown=delay(self.request.retries, error)) from None
        return
    if record.state is not RestoreState.CREATING:
        # The chain comes here also if there is no stack to be made.
        return
    with step_of(self, restore_id, RestoreState.CREATING) as step:
        try:
            asked = hand_over(ledger, record, minutes=minutes)
        except LedgerError:
            raise  # the reconciler sends this again
        except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
            step.failed(error, "Heat", again=in_time(record))
        else:
            if record.cut:
                step.rest(f"{asked} of {len(record.cut)} stacks were begun")


@app.task(name=canvas.POLL_STACKS, ignore_result=True)
def poll_stacks() -> None:
    """Look how far Heat is with all stacks that it works on."""
    ledger = worker.current_ledger()
    with ledger.stacks.polling(worker.current_settings().lease_seconds / 2) as alone:
        if not alone:
            return
        for restore_id, due in poll(ledger, worker.current_settings().stack_minutes):
            if due is RestoreState.DISCARDING:
                canvas.send_discard(app, restore_id)
            else:
                canvas.send_create_stack(app, restore_id)


@app.task(name=canvas.DISCARD, bind=True, ignore_result=True, max_retries=None)
def discard(self: Task, restore_id: str) -> None:
    """Delete what the restore built beside its stack, once that is gone."""
    ledger = worker.current_ledger()
    record = ledger.get(restore_id)
    with step_of(self, restore_id, RestoreState.DISCARDING) as step:
        try:
            discard_all(ledger, record)
        except LedgerError:
            raise  # the reconciler sends this again
        except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
            step.failed(error, "destroy", again=in_time(record))
        else:
            step.finish(RestoreState.DESTROYED)


@app.task(name=canvas.RECONCILE, ignore_result=True)
def reconcile() -> None:
    """Send again what was lost, a message or a worker with what it held; clear away what has ended; tell of it."""
    ledger = worker.current_ledger()
    if not ledger.reconciling():
        return
    delete_due(ledger)
    if overdue := ledger.overdue():
        _look_at_all(ledger, overdue)
    tell_all(ledger, worker.current_settings())


def _look_at_all(ledger: Ledger, overdue: Iterable[tuple[str, int | None]]) -> None:
    places = itertools.product((QUEUE, TRANSFER_QUEUE), Priority)
    first = {(queue, priority): canvas.oldest(app, queue, priority) for queue, priority in places}
    oldest = {place: ledger.sent(*message) for place, message in first.items() if message}
    for restore_id, index in overdue:
        try:
            _look(ledger, restore_id, index, oldest)
        except (LedgerUnavailableError, KombuError):
            # So it would be with all others.
            raise
        except Exception:
            # The others are not to suffer from one that is unreadable.
            fields = {"fact": "reconciler.unforeseen", "restore": restore_id, "index": index}
            logger.exception("look at what is overdue", extra=fields)


def _look(ledger: Ledger, restore_id: str, index: int | None, oldest: Mapping[tuple[str, Priority], str]) -> None:
    match ledger.look(restore_id, index, oldest):
        case Ended(epochs):
            for epoch in range(1, epochs + 1):
                canvas.close(app, restore_id, epoch)
        case RestoreState() as state:
            _send_step_again(restore_id, ledger.get(restore_id).epoch, state)
        case [*nodes]:
            record = ledger.get(restore_id)
            canvas.send_resources(app, restore_id, record.epoch, nodes, record.priority)


def _send_step_again(restore_id: str, epoch: int, state: RestoreState) -> None:
    match state:
        case RestoreState.PENDING | RestoreState.CHECKING:
            canvas.send_preflight(app, restore_id, epoch)
        case RestoreState.RESTORING | RestoreState.ASSEMBLING:
            canvas.send_body(app, restore_id)
        case RestoreState.CREATING:
            canvas.send_create_stack(app, restore_id)
        case RestoreState.DISCARDING:
            canvas.send_discard(app, restore_id)
