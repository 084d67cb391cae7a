"""What an earlier version wrote down and sent, today's workers finish: see tests/contract/recorded."""

import json
from base64 import b64decode, b64encode
from collections import Counter

import pytest
import redis

from restore_worker import restore
from restore_worker.states import RestoreState
from tests.support import processes, recorded
from tests.support.processes import wait_until

SECONDS = 60
# 0 and 1 stand alone; 2 needs 0, 3 needs both, 4 needs 3.
GRAPH = [[], [], [0], [0, 1], [3]]


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def load(steps, client, redis_url, obstacle):
    """Give what puts an earlier version's restore into Redis, whose bank is here."""

    def put(name):
        ends = "failed" if name == "failed" else "held"
        # Tells what stands in a record of the bank.
        here = steps.submit(GRAPH, {1: {"ends": ends, "obstacle": str(obstacle)}}).status
        processes.empty(redis_url)
        instead = {"BANK": here.bank, "DIGEST": here.digest, "OBSTACLE": str(obstacle)}
        return restore.get(recorded.load(client, name, instead))

    return put


@pytest.mark.parametrize(
    ("stage", "state", "attempts"),
    [
        # Its first message is in the queue.
        ("pending", RestoreState.PENDING, 1),
        # s0 and s2 are done; the worker that held s1 is gone, and so is the message.
        ("half-restored", RestoreState.RESTORING, 2),
        ("failed", RestoreState.FAILED, 1),
    ],
)
def test_an_earlier_versions_restore_is_finished(load, steps, worker, obstacle, stage, state, attempts):
    submitted = load(stage)
    assert submitted.status.state is state
    done = [each.node.id for each in submitted.resources if each.state == "done"]
    obstacle.unlink()
    worker(options=["--beat"])
    if state is RestoreState.FAILED:
        submitted.resume()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert submitted.templates == restore.plan("latest", bank=submitted.status.bank).hots
    assert {each.node.id: each.attempts for each in submitted.resources} == {
        **dict.fromkeys(("s0", "s2", "s3", "s4"), 1),
        "s1": attempts,
    }
    # What was done is not done again.
    assert Counter(steps.calls(submitted.id)) == {
        f"s{index}": 1 for index in range(len(GRAPH)) if f"s{index}" not in done
    }


def test_every_message_of_an_earlier_version_is_taken(steps, worker, client):
    submitted = steps.submit([[], [0]])
    sent = client.delete("restore")
    assert sent == 1
    one = worker(pool="solo")
    for message in recorded.messages():
        about = json.dumps(message).replace(recorded.RESTORE_ID, submitted.id).replace(".2", ".1")
        renewed = json.loads(about)
        body = b64decode(message["body"]).decode().replace(recorded.RESTORE_ID, submitted.id)
        renewed["body"] = b64encode(body.encode()).decode()
        # Beat's are for the moment.
        renewed["headers"]["expires"] = None
        renewed["properties"].pop("expiration", None)
        client.lpush(renewed["properties"]["delivery_info"]["routing_key"], json.dumps(renewed))
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert steps.calls(submitted.id) == ["s0", "s1"]
    wait_until(lambda: not client.exists("restore", "transfer", "reconcile", "unacked"), "all messages are taken")
    assert "ERROR" not in one.output
    assert "Traceback" not in one.output
