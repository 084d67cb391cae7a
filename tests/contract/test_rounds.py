"""What the rounds of poller and reconciler ask of a real Redis: it must not grow with what is remembered."""

from __future__ import annotations

from collections import Counter

import pytest
import redis

from restore_worker import poller
from restore_worker.ledger import Ledger
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.support.restores import bring
from tests.support.wire import commands


class _Heat:
    """Any cloud: it has no stacks."""

    def __init__(self, _cloud: str) -> None:
        pass

    def ours(self, _names: object) -> dict[str, object]:
        return {}


def test_what_has_ended_costs_the_rounds_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "same_cloud", lambda *_: None)
    monkeypatch.setattr(poller, "Heat", _Heat)
    monkeypatch.setattr(poller._Follower, "step", lambda _: None)
    ledger = Ledger(redis.Redis.from_url(redis_url, decode_responses=True))
    for _ in range(3):
        bring(ledger, RestoreState.CREATING)

    def cost() -> Counter[str]:
        with commands(redis_url) as seen:
            assert list(poller.poll(ledger, 10)) == []
            assert ledger.overdue() == []
        return Counter(name.upper() for name, *_ in seen)

    before = cost()
    assert before["HMGET"] >= 3, "it looks at what Heat works on"
    for state in FINAL_RESTORE_STATES:
        for _ in range(20):
            bring(ledger, state)
    assert cost() == before
