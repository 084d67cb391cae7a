"""What goes wrong in a plugin, through a real worker: the others finish, and it is told, mended and gone on with."""

from collections import Counter
from datetime import timedelta

import pytest
import redis

from restore_worker import canvas, restore
from restore_worker.app import app
from restore_worker.entries import QUEUE, TRANSFER_QUEUE, Priority
from restore_worker.states import RestoreState
from tests.support.processes import wait_until

SECONDS = 30
# 0 and 1 stand alone; 2 needs 0, 3 needs both, 4 needs 3.
GRAPH = [[], [], [0], [0, 1], [3]]


@pytest.fixture(scope="module", autouse=True)
def _worker(shared_worker):
    shared_worker(env={"RESTORE_LEASE_SECONDS": "3", "RESTORE_MAX_ATTEMPTS": "2"})


@pytest.fixture
def idle(shared_redis):
    """Give a function that waits until no message is on its way, nor with a worker."""

    def nothing(client):
        return not client.exists(QUEUE, TRANSFER_QUEUE, "unacked")

    def wait():
        with redis.Redis.from_url(shared_redis) as client:
            wait_until(lambda: nothing(client), "all tasks have ended")

    return wait


def ends(submitted):
    """Return how each resource has ended and why, by id."""
    return {each.node.id: (each.state.value, each.reason) for each in submitted.resources}


def attempts(submitted):
    return {each.node.id: each.attempts for each in submitted.resources}


def planned(submitted):
    return restore.plan("latest", bank=submitted.status.bank).hots


def told(submitted, name):
    """Return the ids of the resources to which something happened, in order."""
    ids = {each.node.index: each.node.id for each in submitted.resources}
    return [ids[event.index] for event in restore.get(submitted.id).watch() if event and event.name == name]


def test_a_failure_skips_what_needs_it_and_leaves_the_others_to_finish(steps):
    submitted = steps.submit(GRAPH, {1: {"ends": "failed"}})
    ended = submitted.wait(SECONDS)
    assert (ended.state, ended.left, ended.failed) == (RestoreState.FAILED, 0, 3)
    cause = ("skipped", "needs Test::Step step 1 (s1), which was not restored")
    assert ends(submitted) == {
        "s0": ("done", ""),
        "s1": ("failed", "told to fail"),
        "s2": ("done", ""),
        "s3": cause,
        # Not its own child, but what that child lacked.
        "s4": cause,
    }
    assert ended.reason == "3 of 5 resources were not restored: Test::Step step 1 (s1): told to fail"
    assert Counter(steps.calls(submitted.id)) == {"s0": 1, "s1": 1, "s2": 1}
    assert submitted.templates == ()


def test_every_failure_is_told(steps):
    submitted = steps.submit([[], [], [], []], {index: {"ends": "failed"} for index in range(4)})
    reason = submitted.wait(SECONDS).reason
    assert reason.startswith("4 of 4 resources were not restored: ")
    assert reason.count("told to fail") == 3
    assert reason.endswith(" (and 1 more)")


def test_a_broken_plugin_fails_its_resource_only(steps):
    submitted = steps.submit(GRAPH, {2: {"ends": "broken"}})
    assert submitted.wait(SECONDS).state is RestoreState.FAILED
    assert ends(submitted)["s2"] == ("failed", "its plugin broke: ZeroDivisionError('told to break')")
    assert Counter(state for state, _ in ends(submitted).values()) == {"done": 4, "failed": 1}


def test_what_may_pass_is_tried_again(steps):
    submitted = steps.submit(GRAPH, {0: {"ends": "flaky"}})
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert attempts(submitted) == {"s0": 2, "s1": 1, "s2": 1, "s3": 1, "s4": 1}
    assert Counter(steps.calls(submitted.id)) == attempts(submitted)
    assert told(submitted, "waiting") == ["s0"]


def test_what_is_still_building_comes_back_and_counts_no_attempt(steps):
    submitted = steps.submit(GRAPH, {3: {"ends": "slow"}})
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert set(attempts(submitted).values()) == {1}
    assert Counter(steps.calls(submitted.id))["s3"] == 2
    assert told(submitted, "waiting") == ["s3"]


def test_two_that_restore_the_same_clash(steps):
    submitted = steps.submit([[], [0]], {0: {"ends": "clash"}, 1: {"ends": "clash"}})
    assert submitted.wait(SECONDS).reason == (
        "1 of 2 resources were not restored: Test::Step step 1 (s1): "
        "the-same was put into the template already, by Test::Step step 0 (s0)"
    )


def test_after_the_cause_is_mended_only_the_rest_is_done(steps, obstacle):
    submitted = steps.submit(GRAPH, {1: {"ends": "failed", "obstacle": str(obstacle)}})
    assert submitted.wait(SECONDS).state is RestoreState.FAILED
    obstacle.unlink()
    submitted.resume()
    ended = submitted.wait(SECONDS)
    assert (ended.state, ended.epoch, ended.failed, ended.reason) == (RestoreState.COMPLETE, 2, 0, "")
    assert Counter(steps.calls(submitted.id)) == {"s0": 1, "s1": 2, "s2": 1, "s3": 1, "s4": 1}
    assert submitted.templates == planned(submitted)


def test_it_can_fail_again_and_be_resumed_again(steps, obstacle):
    submitted = steps.submit(GRAPH, {1: {"ends": "failed", "obstacle": str(obstacle)}})
    submitted.wait(SECONDS)
    submitted.resume()
    ended = submitted.wait(SECONDS)
    assert (ended.state, ended.epoch, ended.failed) == (RestoreState.FAILED, 2, 3)
    obstacle.unlink()
    submitted.resume()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert Counter(steps.calls(submitted.id)) == {"s0": 1, "s1": 3, "s2": 1, "s3": 1, "s4": 1}


def test_a_cancelled_restore_begins_nothing_and_can_be_resumed(steps, obstacle, idle):
    submitted = steps.submit([[], [0]], {0: {"ends": "held", "obstacle": str(obstacle)}})
    wait_until(lambda: steps.calls(submitted.id), "the first resource is begun")
    submitted.cancel()
    assert submitted.wait(SECONDS).state is RestoreState.CANCELLED
    obstacle.unlink()
    idle()
    assert steps.calls(submitted.id) == ["s0"]
    # What it had in hand it has let go.
    assert [state for state, _ in ends(submitted).values()] == ["waiting", "planned"]
    submitted.resume()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert steps.calls(submitted.id) == ["s0", "s0", "s1"]
    assert submitted.templates == planned(submitted)


def test_what_is_delivered_twice_happens_once(steps, obstacle, idle):
    submitted = steps.submit(GRAPH, {1: {"ends": "held", "obstacle": str(obstacle)}})
    wait_until(lambda: "s2" in steps.calls(submitted.id), "all but what needs s1 is begun")
    nodes = [each.node for each in submitted.resources]
    sent = [node for node in nodes if node.id in {"s0", "s1", "s2"}]
    for _ in range(2):
        canvas.send_preflight(app, submitted.id, 1)
        canvas.send_resources(app, submitted.id, 1, sent, Priority.NORMAL)
        canvas.send_body(app, submitted.id)
    obstacle.unlink()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    canvas.send_resources(app, submitted.id, 1, nodes, Priority.NORMAL)
    canvas.send_body(app, submitted.id)
    idle()
    assert Counter(steps.calls(submitted.id)) == dict.fromkeys(ends(submitted), 1)
    assert set(attempts(submitted).values()) == {1}
    names = Counter(event.name for event in restore.get(submitted.id).watch())
    assert (names["assembling"], names["complete"]) == (1, 1)
    assert submitted.templates == planned(submitted)


def test_a_long_one_keeps_its_lease(steps):
    # Longer than the lease, with a copy of the task that waits for it to end.
    submitted = steps.submit([[]], {0: {"seconds": 4}})
    wait_until(lambda: steps.calls(submitted.id), "it is begun")
    canvas.send_resources(app, submitted.id, 1, [submitted.resources[0].node], Priority.NORMAL)
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    [one] = submitted.resources
    assert (one.attempts, steps.calls(submitted.id)) == (1, ["s0"])
    assert one.ended - one.started > timedelta(seconds=3.9)
