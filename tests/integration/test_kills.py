"""What is killed or lost comes back: a worker, a child of its pool, Redis; and what a worker lacks is told."""

import os
from contextlib import suppress

import pytest
import redis

from restore_worker import canvas, embedded, restore
from restore_worker.app import app
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.support.processes import Program, restore_worker, wait_until
from tests.support.steps import STRANGER, TYPE

SECONDS = 40
# 0 and 1 stand alone; 2 needs 0, 3 needs both, 4 needs 3.
GRAPH = [[], [], [0], [0, 1], [3]]


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch):
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "2")


def reconciled(submitted):
    """Look for what was lost, more often than beat does, until the restore has ended; how it ended."""

    def ended():
        app.send_task(canvas.RECONCILE, expires=5, ignore_result=True)
        with suppress(TimeoutError):
            submitted.wait(0.3)
        return submitted.status.state in FINAL_RESTORE_STATES

    wait_until(ended, "the end of the restore", SECONDS)
    return submitted.status


def attempts(submitted):
    return {each.node.id: each.attempts for each in submitted.resources}


def assert_once(submitted):
    """Every resource came to its end once, and all of them are in the one template."""
    names = [event.name for event in restore.get(submitted.id).watch()]
    assert names.count("done") == len(submitted.resources)
    assert names.count("assembling") == names.count("complete") == 1
    assert submitted.templates == restore.plan("latest", bank=submitted.status.bank).hots


def test_a_killed_worker_is_noticed_by_beat(steps, worker, obstacle):
    submitted = steps.submit(GRAPH, {1: {"ends": "held", "obstacle": str(obstacle)}})
    first = worker(pool="prefork", concurrency=2)
    wait_until(lambda: {"s1", "s2"} <= set(steps.calls(submitted.id)), "all but what needs s1 is begun")
    first.kill()
    obstacle.unlink()
    worker(options=["--beat"])
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert attempts(submitted)["s1"] == 2
    assert_once(submitted)


def test_a_killed_child_of_the_pool(steps, worker):
    worker(pool="prefork", concurrency=2)
    submitted = steps.submit(GRAPH, {1: {"ends": "kill"}})
    assert reconciled(submitted).state is RestoreState.COMPLETE
    assert attempts(submitted) == {"s0": 1, "s1": 2, "s2": 1, "s3": 1, "s4": 1}


def test_what_kills_every_worker_is_given_up(steps, worker):
    worker(pool="prefork", concurrency=2, env={"RESTORE_MAX_ATTEMPTS": "2"})
    submitted = steps.submit(GRAPH, {1: {"ends": "deadly"}})
    assert reconciled(submitted).state is RestoreState.FAILED
    ends = {each.node.id: (each.state.value, each.reason) for each in submitted.resources}
    assert ends["s1"] == ("failed", "given up after 2 attempts: the worker that held it vanished each time")
    assert [state for state, _ in ends.values()].count("done") == 2
    assert steps.calls(submitted.id).count("s1") == 2


def test_a_chord_whose_keys_are_gone(steps, worker, redis_url, obstacle):
    worker()
    submitted = steps.submit(GRAPH, {1: {"ends": "held", "obstacle": str(obstacle)}})
    wait_until(lambda: {"s1", "s2"} <= set(steps.calls(submitted.id)), "all but what needs s1 is begun")
    with redis.Redis.from_url(redis_url) as client:
        assert client.delete(*client.scan_iter("celery-taskset-meta-*"))
    obstacle.unlink()
    assert reconciled(submitted).state is RestoreState.COMPLETE
    assert_once(submitted)


def test_redis_is_killed_and_starts_again(steps, worker, obstacle, tmp_path):
    home, file = tmp_path / "home", tmp_path / "app.yaml"
    home.mkdir(mode=0o700)
    here = {"RESTORE_REDIS_URL": "", "RESTORE_HOME": str(home)}
    first = Program(embedded.command(home), tmp_path / "valkey1.log")
    wait_until(lambda: embedded.address(home), "Valkey answers")
    one = worker(options=["--beat"], env=here)
    bank = steps.write(GRAPH, {1: {"ends": "held", "obstacle": str(obstacle)}})
    request = ("submit", "latest", "--bank", str(bank), "--no-stack", "--wait", "--export", str(file))
    submit = Program(restore_worker(*request), tmp_path / "submit.log", here)
    submit.wait_for("done Test::Step step 2")
    first.kill()
    # It is done while there is nobody to tell.
    obstacle.unlink()
    one.wait_for("Connection to broker lost")
    second = Program(embedded.command(home), tmp_path / "valkey2.log")
    try:
        assert submit.process.wait(SECONDS) == 0, submit.output
        assert one.process.poll() is None
    finally:
        submit.kill()
        second.kill()
    assert file.read_text() == restore.plan("latest", bank=bank).hots[0].text
    # What was done before is done: its result was not lost.
    calls = steps.calls(submit.output.splitlines()[0])
    assert (calls.count("s0"), calls.count("s2")) == (1, 1)


def test_a_worker_that_died_while_it_gave_back_what_others_held_is_not_waited_for_long(redis_url):
    with app.connection_for_read() as connection:
        assert connection.default_channel.unacked_mutex_expire == 10


def test_a_bank_that_the_worker_cannot_read(steps, worker, redis_url, tmp_path):
    bank = steps.write(GRAPH)
    submitted = restore.submit("latest", bank=bank)
    # As on another machine, where the directory is not mounted.
    away = bank.rename(tmp_path / "away")
    worker()
    ended = submitted.wait(SECONDS)
    assert ended.state is RestoreState.FAILED
    assert ended.reason.startswith(f"preflight: there is no directory {bank}/karbor")
    assert (ended.left, steps.calls(submitted.id)) == (5, [])
    away.rename(bank)
    submitted.resume()
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE


def test_a_worker_without_the_plugin(steps, worker, redis_url):
    submitted = steps.submit(GRAPH)
    path = os.environ["PYTHONPATH"].split(os.pathsep)
    worker(env={"PYTHONPATH": os.pathsep.join(each for each in path if each != str(STRANGER))})
    ended = submitted.wait(SECONDS)
    assert ended.state is RestoreState.FAILED
    host = os.uname().nodename
    assert ended.reason == f"preflight: this worker ({host}) has no plugin for {TYPE}: install it here"
    assert (ended.left, steps.calls(submitted.id)) == (5, [])
