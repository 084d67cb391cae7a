"""The canvas: one chord a restore, its size declared beforehand, its header sent as the graph allows.

The header is one task a resource, sent when all that the resource depends on is settled; the body is
``chain(assemble, create_stack)``. Celery calls the body once as many *different* task ids have returned as
were declared, so that a task that runs or is sent twice counts once: every id here is made of the restore,
its epoch and the resource's index.

This leans on four things of Celery that are less than public, for which it is pinned to a minor version and
``tests/contract/test_celery.py`` stands guard: ``set_chord_size``, the message's fields ``chord``, ``group_id``
and ``group_index``, that a chord's parts are counted by task id, and the keys that are kept of a chord.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from celery import chain

from restore_worker.entries import STEPS, Node, Priority, list_of
from restore_worker.errors import printable

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature
    from kombu.messaging import Producer

# Names on the wire: workers of several versions may share a broker, so these are never changed.
PREFLIGHT = "restore_worker.preflight"
RESTORE_RESOURCE = "restore_worker.restore_resource"
ASSEMBLE = "restore_worker.assemble"
CREATE_STACK = "restore_worker.create_stack"
POLL_STACKS = "restore_worker.poll_stacks"
DISCARD = "restore_worker.discard"
RECONCILE = "restore_worker.reconcile"
# What Celery keeps of a chord: parts, their difference to the size, the size, parts seen.
_CHORD_KEYS = (".j", ".t", ".s", ".d")
# How long it shall know that a chord is done: more than the visibility timeout.
_DONE_SECONDS = 7200
# Sent by beat.
PERIODIC = (RECONCILE, POLL_STACKS)


def send_preflight(app: Celery, restore_id: str, epoch: int) -> None:
    """Send the first message of an epoch."""
    app.send_task(PREFLIGHT, (restore_id,), task_id=f"{restore_id}.{epoch}.preflight", ignore_result=True)


def declare(app: Celery, restore_id: str, epoch: int, size: int) -> None:
    """Declare how many resources the chord of an epoch has; before the first of them is sent."""
    app.backend.set_chord_size(_group_id(restore_id, epoch), size)


def send_resources(app: Celery, restore_id: str, epoch: int, nodes: Iterable[Node], priority: Priority) -> None:
    """Send the tasks of resources that can start now into the chord of their epoch."""
    nodes = list(nodes)
    if not nodes:
        return
    body = _body(app, restore_id)
    group_id = _group_id(restore_id, epoch)
    with app.producer_pool.acquire(block=True) as producer, _batch(producer, len(nodes)):
        for node in nodes:
            app.send_task(
                RESTORE_RESOURCE,
                (restore_id, node.index),
                task_id=f"{group_id}.{node.index}",
                group_id=group_id,
                group_index=node.index,
                chord=body,
                root_id=group_id,
                queue=node.queue,
                # A queue of Redis is a list, which is there once something is in it.
                declare=[],
                priority=STEPS[priority],
                # Flower labels tasks by name only.
                shadow=printable(f"restore {node.type} {node.name or node.id}")[:120],
                ignore_result=True,
                producer=producer,
            )


def close(app: Celery, restore_id: str, epoch: int) -> None:
    """Have Celery forget the chord of an epoch that goes on no more; what returns later changes nothing.

    Celery does so itself unless the body was sent in its stead, the restore stopped, or a worker died just then.
    """
    chord = functools.partial(app.backend.get_key_for_group, _group_id(restore_id, epoch))
    with app.backend.client.pipeline() as pipe:
        pipe.delete(*map(chord, _CHORD_KEYS)).set(chord(".c"), "done", ex=_DONE_SECONDS).execute()


def send_body(app: Celery, restore_id: str) -> None:
    """Send the chord's body itself: there was nothing to wait for, or the last part's return was lost."""
    _body(app, restore_id).clone().apply_async()


def send_create_stack(app: Celery, restore_id: str) -> None:
    """Send the end of the body alone: its message was lost."""
    app.send_task(CREATE_STACK, (restore_id,), ignore_result=True)


def oldest(app: Celery, queue: str, priority: Priority) -> tuple[str, int] | None:
    """Return restore and resource of the next message in a queue that has the priority; None if there is none.

    ("", 0) if the message is not of a resource.
    """
    with app.connection_for_read() as connection:
        # Kombu pushes on the left and pops on the right.
        message = connection.default_channel.client.lindex(list_of(queue, priority), -1)
    if message is None:
        return None
    restore_id, _, place = json.loads(message)["headers"]["id"].rpartition(".")
    return (restore_id.rpartition(".")[0], int(place)) if place.isdecimal() else ("", 0)


def send_discard(app: Celery, restore_id: str) -> None:
    """Send the deletion of what was built beside the stack."""
    app.send_task(DISCARD, (restore_id,), ignore_result=True)


def _batch(producer: Producer, messages: int) -> AbstractContextManager[object]:
    """Return what sends several messages in one go; one alone, the usual case, is sent again if that fails."""
    batch: AbstractContextManager[object] = producer.batch()  # type: ignore[no-untyped-call]  # kombu has few types
    return batch if messages > 1 else nullcontext()


def _group_id(restore_id: str, epoch: int) -> str:
    return f"{restore_id}.{epoch}"


@functools.lru_cache(maxsize=16)
def _body(app: Celery, restore_id: str) -> Signature:
    # In every message of the chord, hence no more than it takes: queue and the rest are the tasks' defaults.
    return chain(
        *(app.signature(name, args=(restore_id,), immutable=True) for name in (ASSEMBLE, CREATE_STACK)), app=app
    )
