"""Leases under load, under a library that lets nobody else run, and for the steps of the restore itself."""

from __future__ import annotations

import pytest
import redis

from restore_worker import restore
from restore_worker.entries import QUEUE
from restore_worker.states import RestoreState
from tests.support.processes import wait_until
from tests.support.steps import BRITTLE

SECONDS = 60


def attempts(submitted):
    return {each.node.id: each.attempts for each in submitted.resources}


def told(submitted, name):
    return [event for event in restore.get(submitted.id).watch() if event is not None and event.name == name]


def test_a_library_that_keeps_the_interpreter_for_20_seconds_keeps_its_lease(steps, worker):
    # 20 of the 30 s that a lease lives unless set otherwise, in a pool that is full of others.
    worker(pool="prefork", concurrency=2, options=["--beat"])
    frozen = steps.submit([[]], {0: {"ends": "frozen", "seconds": 20}})
    wait_until(lambda: steps.calls(frozen.id), "it is begun")
    others = [steps.submit([[], [], [0, 1]], {0: {"seconds": 0.2}}) for _ in range(20)]
    assert {each.wait(SECONDS).state for each in (frozen, *others)} == {RestoreState.COMPLETE}
    assert (attempts(frozen), steps.calls(frozen.id)) == ({"s0": 1}, ["s0"])
    assert [told(frozen, name) for name in ("resent", "waiting")] == [[], []]


def test_one_that_keeps_it_for_longer_than_a_lease_is_replaced_and_has_nothing_more_to_say(
    steps, worker, monkeypatch
):
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "2")
    worker(pool="prefork", concurrency=2, options=["--beat"])
    submitted = steps.submit([[], [0]], {0: {"ends": "frozen", "seconds": 20}})
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    first, other = submitted.resources
    assert (first.attempts, other.attempts) == (2, 1)
    assert (first.ended - first.started).total_seconds() < 20
    assert len(told(submitted, "done")) == 2
    assert steps.calls(submitted.id) == ["s0", "s0", "s1"]


def test_checks_that_kill_every_worker_are_given_up(steps, worker, obstacle, monkeypatch):
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "1")
    monkeypatch.setenv("RESTORE_MAX_ATTEMPTS", "2")
    obstacle.unlink()
    submitted = steps.submit([[]], {0: {"ends": "fatal", "obstacle": str(obstacle)}})
    obstacle.touch()
    worker(pool="prefork", concurrency=1, options=["--beat"])
    ended = submitted.wait(SECONDS)
    assert ended.state is RestoreState.FAILED
    assert ended.reason == "checking was given up after 2 attempts: the worker that held it vanished each time"
    assert [event.details["reason"] for event in told(submitted, "repeated")] == ["checking, attempt 2"]
    obstacle.unlink()
    submitted.resume()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE


def test_a_worker_looks_for_what_was_lost_when_it_starts(steps, worker, redis_url, monkeypatch):
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "1")
    submitted = steps.submit([[], [0]])
    with redis.Redis.from_url(redis_url) as client:
        assert client.delete(QUEUE) == 1
        wait_until(lambda: client.zcount("restores:due", 0, client.time()[0]), "it is overdue")
    # No beat.
    worker()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE


@pytest.mark.parametrize(("resource_type", "tries"), [("Test::Step", 3), (BRITTLE, 2)])
def test_a_resource_is_tried_as_often_as_its_plugin_or_the_settings_say(
    steps, worker, monkeypatch, resource_type, tries
):
    monkeypatch.setenv("RESTORE_MAX_ATTEMPTS", "3")
    worker()
    submitted = steps.submit([[]], {0: {"type": resource_type, "ends": "unwell"}})
    assert submitted.wait(SECONDS).state is RestoreState.FAILED
    [one] = submitted.resources
    assert one.reason == f"given up after {tries} attempts: told to be unwell"
    # Each of them is told.
    assert [event.details["attempt"] for event in told(submitted, "running")] == [str(1 + n) for n in range(tries)]
    assert [event.details["reason"] for event in told(submitted, "waiting")] == ["told to be unwell"] * (tries - 1)


def test_who_asks_to_be_left_alone_for_a_while_is(steps, worker):
    worker()
    submitted = steps.submit([[]], {0: {"ends": "flaky", "after": 6}})
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    [one] = submitted.resources
    assert one.attempts == 2
    assert (one.ended - one.started).total_seconds() >= 6
