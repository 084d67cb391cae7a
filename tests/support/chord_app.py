"""Tasks with the names of the canvas that only tell what Celery does with them, and behave as a test says.

In Redis, told:ID is the list of what ran, as JSON; behave:ID:WHAT says what the next runs of a task do, one letter
each: r to retry, i to be ignored, f to fail. WHAT is a resource's index, assemble or create_stack.
"""

from __future__ import annotations

import json
import os

import redis
from celery import Celery, Task
from celery.exceptions import Ignore

from restore_worker import canvas


def _defaults() -> dict[str, str]:
    url = os.environ["RESTORE_REDIS_URL"]
    return {"broker_url": url, "result_backend": url}


app = Celery("chord_app")
app.add_defaults(_defaults)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_default_queue="restore",
    result_chord_expires=1000,
)


def _redis() -> redis.Redis:
    return redis.Redis.from_url(os.environ["RESTORE_REDIS_URL"], decode_responses=True)


def _run(task: Task, restore_id: str, what: str | int) -> None:
    request = task.request
    told = {
        "what": what,
        "id": request.id,
        "group": request.group,
        "group_index": request.group_index,
        "shadow": request.shadow,
        "queue": request.delivery_info["routing_key"],
        "priority": request.delivery_info["priority"],
        "root": request.root_id,
        "chord": request.chord is not None,
        "retries": request.retries,
    }
    with _redis() as client:
        client.rpush(f"told:{restore_id}", json.dumps(told))
        behaviour = client.lpop(f"behave:{restore_id}:{what}")
    if behaviour == "r":
        raise task.retry(countdown=0.1)
    if behaviour == "i":
        raise Ignore
    if behaviour == "f":
        raise ValueError("as the test said")


@app.task(name=canvas.RESTORE_RESOURCE, bind=True, ignore_result=True, max_retries=None)
def restore_resource(self: Task, restore_id: str, index: int) -> None:
    _run(self, restore_id, index)


@app.task(name=canvas.ASSEMBLE, bind=True, ignore_result=True)
def assemble(self: Task, restore_id: str) -> None:
    _run(self, restore_id, "assemble")


@app.task(name=canvas.CREATE_STACK, bind=True, ignore_result=True)
def create_stack(self: Task, restore_id: str) -> None:
    _run(self, restore_id, "create_stack")
