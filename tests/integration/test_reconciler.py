"""What a restore loses on its way is sent again, though every queue is empty: real workers, with beat."""

import pytest
import redis

from restore_worker import restore
from restore_worker.entries import QUEUE
from restore_worker.states import RestoreState


def test_a_lost_first_message_is_sent_again(steps, worker, redis_url, monkeypatch: pytest.MonkeyPatch):
    # What was sent may take as long as a lease lives.
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "5")
    submitted = steps.submit([[], [0], [0]])
    with redis.Redis.from_url(redis_url) as client:
        assert client.delete(QUEUE) == 1
    worker(options=["--beat"])
    assert submitted.wait(60).state is RestoreState.COMPLETE
    resent = [event for event in restore.get(submitted.id).watch() if event is not None and event.name == "resent"]
    assert [(event.index, event.details["reason"]) for event in resent] == [(None, "pending for too long")]
