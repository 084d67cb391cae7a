"""A worker that is told to stop ends what is short and hands back what is long, whatever its pool and the signals."""

import itertools
import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery.exceptions import Retry

from restore_worker import restore, tasks
from restore_worker.states import RestoreState
from restore_worker.stopping import Stopped
from tests.support.processes import wait_until

SECONDS = 60
# While a lease is not let go, nobody else goes on within 30 seconds.
SOON = timedelta(seconds=5)


def patience(seconds):
    """Return the options of a worker that hands back what has not ended so many seconds after it was told to stop."""
    return ["--", f"worker.soft_shutdown_timeout={seconds}"]


def events(submitted):
    return list(restore.get(submitted.id).watch())


def assert_nothing_waits(redis_url):
    """No message is left, neither in a queue nor in a worker's hands."""
    with redis.Redis.from_url(redis_url) as client:
        wait_until(
            lambda: not client.exists("restore", "transfer", "unacked", "unacked_index"), "all messages went"
        )


def assert_handed_over(submitted, since, index=1):
    """The resource was let go, and another worker took it up soon; once both were counted as one attempt."""
    happened = [event for event in events(submitted) if event.index == index]
    assert [event.name for event in happened] == ["running", "waiting", "running", "done"]
    first, waiting, second, _ = happened
    assert waiting.details["reason"] == "its worker stopped"
    assert second.details["worker"] != first.details["worker"]
    assert second.time - since < SOON
    assert {each.node.index: each.attempts for each in submitted.resources}[index] == 1


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_long_attempt_goes_on_in_another_worker_at_once(steps, worker, redis_url, obstacle, pool):
    submitted = steps.submit([[], []], {1: {"ends": "held", "obstacle": str(obstacle)}})
    first = worker(pool=pool, concurrency=2, options=patience(1))
    wait_until(lambda: "s1" in steps.calls(submitted.id), "s1 is begun")
    worker(pool="threads")
    told = datetime.now(UTC)
    # As systemd does, and many others: to all of its processes.
    os.killpg(first.process.pid, signal.SIGTERM)
    assert first.process.wait(10) == 0
    obstacle.unlink()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert_handed_over(submitted, told)
    assert_nothing_waits(redis_url)


def test_a_child_of_the_pool_that_streams_bytes_breaks_off(steps, worker, redis_url, obstacle):
    told = {1: {"ends": "streams", "chunks": 3000, "obstacle": str(obstacle)}}
    submitted = steps.submit([[], []], told)
    first = worker(pool="prefork", concurrency=2, options=patience(1))
    wait_until(lambda: "s1" in steps.calls(submitted.id), "s1 is begun")
    worker(pool="threads")
    since = datetime.now(UTC)
    assert first.stop(seconds=10) == 0
    obstacle.unlink()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert_handed_over(submitted, since)
    assert_nothing_waits(redis_url)


def test_a_check_is_handed_back_too(steps, worker, redis_url, monkeypatch):
    def check(*_):
        raise Stopped

    submitted = steps.submit([[]])
    monkeypatch.setattr(tasks, "check", check)
    with pytest.raises(Retry):
        tasks.preflight(submitted.id)
    worker()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert [event.details.get("reason") for event in events(submitted) if event.name == "waiting"] == [
        "its worker stopped"
    ]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_is_short_ends_where_it_began(steps, worker, redis_url, pool):
    submitted = steps.submit([[], [0]], {0: {"seconds": 2}})
    first = worker(pool=pool, concurrency=2)
    wait_until(lambda: "s0" in steps.calls(submitted.id), "s0 is begun")
    os.killpg(first.process.pid, signal.SIGTERM)
    assert first.process.wait(10) == 0
    worker()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert steps.calls(submitted.id) == ["s0", "s1"]
    assert "its worker stopped" not in {event.details.get("reason") for event in events(submitted)}
    assert_nothing_waits(redis_url)


@pytest.mark.parametrize("signals", [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGQUIT"], ["SIGQUIT"]], ids=",".join)
def test_a_second_signal_and_sigquit_have_it_hand_back_at_once(steps, worker, redis_url, obstacle, signals):
    submitted = steps.submit([[], []], {1: {"ends": "held", "obstacle": str(obstacle)}})
    first = worker(pool="prefork", concurrency=2, options=patience(60))
    wait_until(lambda: "s1" in steps.calls(submitted.id), "s1 is begun")
    worker(pool="threads")
    since = datetime.now(UTC)
    for name in signals[:-1]:
        first.process.send_signal(signal.Signals[name])
        first.wait_for("stops;")
    assert first.stop(signal.Signals[signals[-1]], seconds=10) == 0
    obstacle.unlink()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert_handed_over(submitted, since)
    assert_nothing_waits(redis_url)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_does_not_even_end_then_is_killed(steps, worker, redis_url, obstacle, monkeypatch, pool):
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "2")
    submitted = steps.submit([[], []], {1: {"ends": "deaf", "obstacle": str(obstacle)}})
    first = worker(pool=pool, concurrency=2, options=patience(0.5))
    wait_until(lambda: "s1" in steps.calls(submitted.id), "s1 is begun")
    first.stop(seconds=15)
    assert "does not end: it is killed" in first.output
    obstacle.unlink()
    worker(options=["--beat"])
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert {each.node.index: each.attempts for each in submitted.resources} == {0: 1, 1: 2}


def test_a_message_that_comes_while_it_stops_goes_to_others(steps, worker, redis_url, obstacle):
    other = steps.submit([[]])
    with redis.Redis.from_url(redis_url) as client:
        message = client.lpop("restore")
        submitted = steps.submit([[]], {0: {"ends": "held", "obstacle": str(obstacle)}})
        first = worker(pool="prefork", concurrency=2)
        wait_until(lambda: steps.calls(submitted.id), "s0 is begun")
        first.process.terminate()
        first.wait_for("stops;")
        # It has just asked for one, since it has a child without work.
        client.lpush("restore", message)
        time.sleep(0.1)
        wait_until(lambda: client.llen("restore") == 1, "the message is in the queue", 5)
        assert (first.process.poll(), steps.calls(other.id)) == (None, [])
    obstacle.unlink()
    assert first.process.wait(10) == 0
    worker()
    assert other.wait(SECONDS).state is RestoreState.COMPLETE


def test_all_workers_are_restarted_under_load(steps, worker, redis_url, obstacle):
    # Six chains of 33 steps, each of which takes three seconds until all workers are restarted.
    chains = [[index - 6] if index >= 6 else [] for index in range(198)]
    told = {index: {"seconds": 3, "obstacle": str(obstacle)} for index in range(198)}
    submitted = steps.submit(chains, told)
    kinds = ({"pool": "prefork", "concurrency": 2}, {"pool": "threads", "concurrency": 2})
    running = [worker(**kinds[number % 2]) for number in range(3)]
    wait_until(lambda: len(steps.calls(submitted.id)) > 6, "all are at work")
    for restarts in range(6):
        assert running.pop(0).stop(seconds=15) == 0
        running.append(worker(**kinds[restarts % 2]))
    assert submitted.status.left > 0
    obstacle.unlink()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert Counter(steps.calls(submitted.id)) == {f"s{index}": 1 for index in range(198)}
    assert {each.attempts for each in submitted.resources} == {1}
    happened = events(submitted)
    names = Counter(event.name for event in happened)
    assert (names["running"], names["done"], names["waiting"], names["resent"]) == (198, 198, 0, 0)
    ends = [event.time for event in happened if event.name == "done"]
    assert max(later - earlier for earlier, later in itertools.pairwise(ends)) < timedelta(seconds=3) + SOON
    assert_nothing_waits(redis_url)
