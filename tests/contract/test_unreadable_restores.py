"""A restore whose keys are broken keeps no other from being looked at: a real server, and nobody who sends or builds."""

from __future__ import annotations

import pytest
import redis

from restore_worker import canvas, poller, tasks, worker
from restore_worker.ledger import Ledger
from restore_worker.states import RestoreState
from tests.support.restores import bring, record


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def spoil(client: redis.Redis, restore_id: str, field: str) -> None:
    """Break the record of a restore: as a whole, or a field of it."""
    key = f"restore:{{{restore_id}}}:record"
    if field:
        assert client.hdel(key, field) == 1
    else:
        client.set(key, "no hash")


@pytest.mark.parametrize("field", ["", "epoch"])
def test_what_was_lost_of_the_others_is_sent_again(
    client: redis.Redis, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, sent = Ledger(client, patience=0), []
    monkeypatch.setattr(worker, "current_ledger", lambda: ledger)
    monkeypatch.setattr(canvas, "oldest", lambda *_: None)
    monkeypatch.setattr(canvas, "send_preflight", lambda _, restore_id, __: sent.append(restore_id))
    first, second, third = (record(ledger) for _ in range(3))
    spoil(client, second, field)
    tasks.reconcile.run()
    assert sorted(sent) == sorted([first, third])


@pytest.mark.parametrize("field", ["", "created"])
def test_the_stacks_of_the_others_are_followed(
    client: redis.Redis, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, followed = Ledger(client), []
    monkeypatch.setattr(poller, "same_cloud", lambda *_: None)
    monkeypatch.setattr(poller, "Heat", _NoStacks)
    monkeypatch.setattr(poller._Follower, "step", lambda self: followed.append(self._record.id))
    first, second, third = (bring(ledger, RestoreState.CREATING) for _ in range(3))
    spoil(client, second, field)
    assert list(poller.poll(ledger, 10)) == []
    assert followed == sorted([first, third])


class _NoStacks:
    def __init__(self, _cloud: str) -> None:
        pass

    def ours(self, _names: object) -> dict[str, object]:
        return {}
