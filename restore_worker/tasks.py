"""The tasks, as they run in workers: load, call, save.

Every task may run twice, at the same time too. A resource's task never raises and never returns before the
resource is settled, since the chord counts its return.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Reject
from kombu.exceptions import ChannelError, KombuError

from restore_worker import canvas, ledger, settings
from restore_worker.app import app
from restore_worker.bank import Bank, open_bank
from restore_worker.checkpoint import parse_checkpoint
from restore_worker.context import RestoreContext
from restore_worker.entries import (
    QUEUE,
    TRANSFER_QUEUE,
    Claimed,
    Held,
    Idle,
    Node,
    Outcome,
    RestoreRecord,
    Settled,
)
from restore_worker.errors import LedgerError, PluginError, RestoreError, Retriable, StaleLeaseError
from restore_worker.lease import LeaseKeeper
from restore_worker.plugin import StillBuilding
from restore_worker.registry import installed
from restore_worker.resource import Resource, ResourceKey
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import Fragment, HeatTemplate, assemble

logger = logging.getLogger(__name__)

# The reconciler runs every few seconds and tells in the ledger what it does: Celery need not tell that it ran.
for _talker in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_talker).addFilter(
        lambda record: not (isinstance(record.args, dict) and record.args.get("name") == canvas.RECONCILE)
    )

# A message that waits for its time waits in a worker's memory: not for long.
_LONGEST_COUNTDOWN = 55.0


@functools.cache
def _settings() -> settings.Settings:
    return settings.load()


@functools.cache
def _ledger() -> ledger.Ledger:
    return ledger.connect(_settings())


@functools.cache
def _leases() -> LeaseKeeper:
    return LeaseKeeper(_ledger(), _settings().lease_seconds)


@functools.lru_cache(maxsize=16)
def _bank(url: str, process: int) -> Bank:  # noqa: ARG001 - a connection is not shared with the pool's children
    return open_bank(url)


def bank_of(url: str) -> Bank:
    """Return this process's bank of a URL."""
    return _bank(url, os.getpid())


@app.task(name=canvas.PREFLIGHT, bind=True, ignore_result=True, max_retries=None)
def preflight(self: Task, restore_id: str) -> None:
    """Look whether this worker can do what the submitter planned; then let the first resources go."""
    record = _ledger().get(restore_id)
    if record.state is RestoreState.PENDING:
        _ledger().move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    if record.state in {RestoreState.PENDING, RestoreState.CHECKING}:
        try:
            _check(record)
        except Exception as error:  # noqa: BLE001 - whatever it is, the user must be told
            if isinstance(error, Retriable) and self.request.retries < _settings().max_attempts:
                raise self.retry(countdown=_delay(self.request.retries)) from None
            _ledger().move(restore_id, RestoreState.CHECKING, RestoreState.FAILED, f"preflight: {_told(error)}")
            return
        # Only while nothing runs yet: the size is that of the whole epoch.
        canvas.declare(app, restore_id, record.epoch, record.left)
    ready = _ledger().begin(restore_id)
    if ready is None:
        return
    canvas.send_resources(app, restore_id, record.epoch, ready)
    if record.left == 0:
        canvas.send_body(app, restore_id)


def _check(record: RestoreRecord) -> None:
    missing = [each for each in record.types if installed().get(each) is None]
    if missing:
        raise PluginError(
            f"this worker ({os.uname().nodename}) has no plugin for {', '.join(missing)}: install it here"
        )
    index = bank_of(record.bank).read(f"checkpoints/{record.checkpoint}/index.json")
    parse_checkpoint(record.checkpoint, index.data).restorable_graph()


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
    claim = _ledger().claim(
        restore_id,
        index,
        token,
        lease=_settings().lease_seconds,
        most_attempts=_settings().max_attempts,
        worker=task.request.hostname or "",
    )
    match claim:
        case Idle():
            return
        case Held(seconds):
            # The other copy may die yet: this one stays until the resource is settled.
            raise task.retry(countdown=min(seconds + 1, _LONGEST_COUNTDOWN))
        case Claimed(epoch=epoch):
            with _leases().holding(restore_id, index, token):
                settled = _settle(task, claim, restore_id, token)
        case Settled():
            settled, epoch = claim, _ledger().get(restore_id).epoch
    canvas.send_resources(app, restore_id, epoch, settled.released)


@dataclass(frozen=True, slots=True)
class _End:
    """What an attempt came to."""

    state: Outcome
    reason: str = ""
    fragments: Mapping[str, Fragment] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pause:
    """The attempt is to be made again. counts: it is one of those that are limited."""

    seconds: float
    reason: str
    counts: bool


def _settle(task: Task, claim: Claimed, restore_id: str, token: str) -> Settled:
    """Make one attempt and settle the resource, or raise Retry."""
    index = claim.node.index
    # If somebody else has it by now: come back soon to see it settled.
    seconds = 1.0
    try:
        match _attempt(claim, restore_id):
            case _End(state, reason, fragments):
                return _ledger().settle(restore_id, index, token, state, reason, fragments)
            case _Pause(pause, reason, counts):
                if _ledger().wait(restore_id, index, token, pause, reason, counts=counts):
                    seconds = pause
    except StaleLeaseError:
        logger.warning("%s of %s was taken over by another worker", claim.node.id, restore_id)
    raise task.retry(countdown=seconds)


def _attempt(claim: Claimed, restore_id: str) -> _End | _Pause:
    try:
        return _End(ResourceState.DONE, fragments=_fragments(claim, restore_id))
    except StaleLeaseError:
        raise
    except StillBuilding as signal:
        return _Pause(min(signal.after, _LONGEST_COUNTDOWN), signal.reason, counts=False)
    except RestoreError as error:
        if not isinstance(error, Retriable):
            return _End(ResourceState.FAILED, str(error))
        if claim.attempts >= _settings().max_attempts:
            return _End(ResourceState.FAILED, f"given up after {claim.attempts} attempts: {error}")
        return _Pause(_delay(claim.attempts), str(error), counts=True)
    except Exception as error:
        logger.exception("plugin of %s", claim.node)
        return _End(ResourceState.FAILED, f"its plugin broke: {error!r}")


def _fragments(claim: Claimed, restore_id: str) -> dict[str, Fragment]:
    node = claim.node
    plugin = installed().get(node.type)
    if plugin is None:
        raise PluginError(f"this worker ({os.uname().nodename}) has no plugin for {node.type}: install it here")
    resource = Resource(ResourceKey(node.type, node.id), node.name)
    work = plugin.Work.model_validate_json(claim.work)
    context = RestoreContext(
        restore_id, claim.checkpoint, resource, bank_of(claim.bank), plugin.data(work), building=None
    )
    template = HeatTemplate(functools.partial(_ledger().fragment, restore_id))
    if context.rendering:
        context.verify_data()
    plugin.restore(resource, work, template, context)
    return template.fragments


@app.task(name=canvas.ASSEMBLE, bind=True, ignore_result=True)
def assemble_template(self: Task, restore_id: str) -> None:  # noqa: ARG001 - one signature for all tasks
    """Make the template of all fragments; takes effect once, and only if nothing is left to restore."""
    _ledger().move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    record = _ledger().get(restore_id)
    # Either it has just come so far, or a copy of this task died after that step: then it is ours to finish.
    if record.state is not RestoreState.ASSEMBLING:
        raise Ignore
    finish = functools.partial(_ledger().move, restore_id, RestoreState.ASSEMBLING)
    if record.failed:
        finish(RestoreState.FAILED, _reasons(record))
        raise Ignore
    fragments = _ledger().fragments(restore_id)
    try:
        hot = assemble(fragments, record.description)
    except Exception as error:
        finish(RestoreState.FAILED, _told(error))
        raise Ignore from error
    finish(RestoreState.COMPLETE, hot=hot)


def _told(error: Exception) -> str:
    """Return an error as people read it; one that nobody foresaw with its type."""
    return str(error) if isinstance(error, RestoreError) else f"unforeseen: {error!r}"


def _reasons(record: RestoreRecord) -> str:
    failed = [each for each in _ledger().resources(record.id) if each.state is ResourceState.FAILED]
    told = "; ".join(f"{each.node.type} {each.node.name} ({each.node.id}): {each.reason}" for each in failed[:3])
    more = f" (and {len(failed) - 3} more)" if failed[3:] else ""
    return f"{record.failed} of {record.size} resources were not restored: {told}{more}"


@app.task(name=canvas.CREATE_STACK, bind=True, ignore_result=True)
def create_stack(self: Task, restore_id: str) -> None:  # noqa: ARG001 - one signature for all tasks
    """Hand the template to Heat; nothing to do unless the restore is to have a stack."""
    if _ledger().get(restore_id).state is not RestoreState.CREATING:
        raise Ignore


@app.task(name=canvas.RECONCILE, ignore_result=True)
def reconcile() -> None:
    """Send again what was lost: a message on its way, or a worker with what it held."""
    _ledger().note_reconciled()
    overdue = _ledger().overdue()
    if not overdue:
        return
    busy = [queue for queue in (QUEUE, TRANSFER_QUEUE) if _has_messages(queue)]
    for restore_id, index in overdue:
        found = _ledger().look(restore_id, index, busy)
        if found is None:
            continue
        epoch = _ledger().get(restore_id).epoch
        match found:
            case Node():
                canvas.send_resources(app, restore_id, epoch, [found])
            case RestoreState.PENDING | RestoreState.CHECKING:
                canvas.send_preflight(app, restore_id, epoch)
            case RestoreState.RESTORING | RestoreState.ASSEMBLING:
                canvas.send_body(app, restore_id)


def _has_messages(queue: str) -> bool:
    with app.connection_for_read() as connection:
        try:
            answer: Any = connection.default_channel.queue_declare(queue=queue, passive=True)
        except ChannelError:
            # To Redis, an empty queue is none.
            return False
    return bool(answer.message_count)


def _delay(attempt: int) -> float:
    """Return seconds until the next attempt: exponential, with jitter."""
    return min(2.0**attempt, _LONGEST_COUNTDOWN) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
