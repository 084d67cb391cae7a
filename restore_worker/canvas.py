"""The canvas: one chord a restore, its size declared beforehand, its header sent as the graph allows.

The header is one task a resource, sent when all that the resource depends on is settled; the body is
``chain(assemble, create_stack)``. Celery calls the body once as many *different* task ids have returned as
were declared, so that a task that runs or is sent twice counts once: every id here is made of the restore,
its epoch and the resource's index.

This leans on three things of Celery that are less than public, for which it is pinned to a minor version and
``tests/contract/test_celery.py`` stands guard: ``set_chord_size``, the message's fields ``chord``, ``group_id``
and ``group_index``, and that a chord's parts are counted by task id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from celery import chain

from restore_worker.entries import QUEUE, Node

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature

# Names on the wire: workers of several versions may share a broker, so these are never changed.
PREFLIGHT = "restore_worker.preflight"
RESTORE_RESOURCE = "restore_worker.restore_resource"
ASSEMBLE = "restore_worker.assemble"
CREATE_STACK = "restore_worker.create_stack"
RECONCILE = "restore_worker.reconcile"


def send_preflight(app: Celery, restore_id: str, epoch: int) -> None:
    """Send the first message of an epoch."""
    app.send_task(PREFLIGHT, (restore_id,), task_id=f"{restore_id}.{epoch}.preflight", ignore_result=True)


def declare(app: Celery, restore_id: str, epoch: int, size: int) -> None:
    """Declare how many resources the chord of an epoch has; before the first of them is sent."""
    app.backend.set_chord_size(_group_id(restore_id, epoch), size)


def send_resources(app: Celery, restore_id: str, epoch: int, nodes: Iterable[Node]) -> None:
    """Send the tasks of resources that can start now into the chord of their epoch."""
    nodes = list(nodes)
    if not nodes:
        return
    body = _body(app, restore_id, epoch)
    with app.producer_pool.acquire(block=True) as producer, producer.batch():
        for node in nodes:
            app.send_task(
                RESTORE_RESOURCE,
                (restore_id, node.index),
                task_id=f"{restore_id}.{epoch}.{node.index}",
                group_id=_group_id(restore_id, epoch),
                group_index=node.index,
                chord=body,
                root_id=body.id,
                queue=node.queue,
                # Flower labels tasks by name only.
                shadow=f"restore {node.type} {node.name or node.id}"[:120],
                ignore_result=True,
                producer=producer,
            )


def send_body(app: Celery, restore_id: str, epoch: int) -> None:
    """Send the chord's body itself: there was nothing to wait for, or the last part's return was lost."""
    _body(app, restore_id, epoch).apply_async()


def _group_id(restore_id: str, epoch: int) -> str:
    return f"{restore_id}.{epoch}"


def _body(app: Celery, restore_id: str, epoch: int) -> Signature:
    assemble, create_stack = (
        app.signature(name, args=(restore_id,), immutable=True, options={"queue": QUEUE, "ignore_result": True})
        for name in (ASSEMBLE, CREATE_STACK)
    )
    body = chain(assemble, create_stack, app=app)
    root_id = f"{_group_id(restore_id, epoch)}.body"
    body.freeze(root_id, root_id=root_id)
    return body
