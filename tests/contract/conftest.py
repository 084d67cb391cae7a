"""The ledgers that contract tests run on: the twin with a clock of its own, and a real server."""

from __future__ import annotations

import time
from functools import partial

import pytest
import redis

from restore_worker.ledger import Ledger
from tests.support.ledger_twin import LedgerTwin
from tests.support.restores import AnyLedger, Ledgers


@pytest.fixture(params=["twin", "server"])
def ledgers(request: pytest.FixtureRequest) -> Ledgers:
    if request.param == "server":
        client = redis.Redis.from_url(request.getfixturevalue("redis_url"), decode_responses=True)
        return Ledgers(partial(Ledger, client), time.sleep)
    now = [1_800_000_000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return Ledgers(partial(LedgerTwin, lambda: now[0]), sleep)


@pytest.fixture
def ledger(ledgers: Ledgers) -> AnyLedger:
    return ledgers.make()
