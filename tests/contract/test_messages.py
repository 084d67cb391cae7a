"""The messages of all tasks are as recorded: workers of an earlier version take them, too."""

import base64
import json
import re

import pytest
import redis

from restore_worker import canvas
from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE, Node, Priority
from restore_worker.tasks import app
from tests.support import recorded
from tests.support.recorded import RESTORE_ID

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+\+00:00")


@pytest.fixture
def sent(redis_url):
    """Give what is sent now, in the order of the recording."""
    canvas.send_preflight(app, RESTORE_ID, 2)
    canvas.send_resources(
        app,
        RESTORE_ID,
        2,
        [Node(0, "Test::Step", "s0", "step 0", QUEUE), Node(1, "Test::Step", "s1", "", TRANSFER_QUEUE)],
        Priority.HIGH,
    )
    canvas.send_body(app, RESTORE_ID)
    canvas.send_create_stack(app, RESTORE_ID)
    canvas.send_discard(app, RESTORE_ID)
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"], **entry["options"])
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        queues = [client.lrange(queue, 0, -1) for queue in (QUEUE, TRANSFER_QUEUE, RECONCILE_QUEUE)]
        client.delete(QUEUE, TRANSFER_QUEUE, RECONCILE_QUEUE)
    return [json.loads(message) for messages in queues for message in reversed(messages)]


def contract(message):
    """Return what a worker reads of a message, with ids that mean nothing and times left out."""
    headers = {name: value for name, value in message["headers"].items() if name != "origin"}
    properties = dict(message["properties"])
    for name in ("delivery_tag", "reply_to"):
        properties.pop(name)
    body = json.loads(base64.b64decode(message["body"]))
    text = json.dumps([headers, properties, body, message["content-type"], message["content-encoding"]])
    text = UUID.sub(lambda found: found[0] if found[0] == RESTORE_ID else "random", text)
    return json.loads(TIME.sub("time", text))


def test_messages_are_as_they_were(sent):
    before = recorded.messages()
    assert {message["headers"]["task"] for message in before} == {
        name for name in app.tasks if name.startswith("restore_worker.")
    }
    for now, then in zip(sent, before, strict=True):
        assert contract(now) == contract(then)
