"""What restores leave behind when their time is over: nothing in Redis, and little in workers."""

from __future__ import annotations

import pytest
import redis

from restore_worker import canvas
from restore_worker.app import app
from restore_worker.states import RestoreState
from tests.support.endings import Endings, short_lives
from tests.support.footprint import footprints
from tests.support.processes import wait_until

# All that stays: when the reconciler ran last, and for a second that it has just run.
STAYS = {"restores:reconciled", "restores:reconciling"}
KEEP_SECONDS = 300
# Celery itself remembers for so long that a chord is done.
DONE_SECONDS = 300


def test_nothing_stays_of_restores_whose_time_is_over(
    steps, worker, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The chords of what was stopped are closed after that time.
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "2")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client, short_lives(client, KEEP_SECONDS):
        program = worker(pool="prefork", concurrency=2, options=["--include=tests.support.short_lives"])
        before = set(client.scan_iter())
        endings = Endings(steps)
        # Connections come with the first tasks.
        endings.run(10)
        warm = footprints(program.process.pid)
        ended = endings.run(40)
        assert ended == {RestoreState.COMPLETE: 28, RestoreState.FAILED: 8, RestoreState.CANCELLED: 4}
        for pid, now in footprints(program.process.pid).items():
            assert now.files <= warm[pid].files + 3
        wait_until(lambda: chords(client) == set(), "the chords of what was stopped are closed")
        let_time_pass(client)
        wait_until(lambda: reconciled(client) - before <= STAYS, "only what stays is left")


def reconciled(client: redis.Redis) -> set[str]:
    """Have the reconciler run; all keys but those of Celery that tell for minutes that a chord is done."""
    app.send_task(canvas.RECONCILE, expires=5, ignore_result=True)
    return {key for key in client.scan_iter() if not (key.endswith(".c") and client.ttl(key) <= DONE_SECONDS)}


def chords(client: redis.Redis) -> set[str]:
    return {key for key in reconciled(client) if key.startswith("celery-")}


def let_time_pass(client: redis.Redis) -> None:
    """End the lives of all restores, and have their ends looked at now."""
    for key in client.scan_iter("restore:*"):
        left = client.ttl(key)
        # Redis says -1 of what never ends; the first ones have ended by themselves (-2) where the test took long.
        assert left == -2 or 0 <= left <= KEEP_SECONDS
        client.pexpire(key, 1)
    client.zadd("restores:due", dict.fromkeys(client.zrange("restores:due", 0, -1), 0), xx=True)
