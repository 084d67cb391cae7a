"""What restores leave in a real server: nothing, once their time is over, whoever wrote something late."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
import redis

from restore_worker import settings
from restore_worker.entries import Built, Ended, StackLog
from restore_worker.errors import StaleLeaseError
from restore_worker.ledger import Ledger
from restore_worker.notification import tell_all
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import HeatResource
from tests.support.processes import wait_until
from tests.support.restores import LONG, WAYS, begin, bring, claim, go_on

SECOND = 1 / 86400
STOPPED = RestoreState.CANCELLED
A = HeatResource("Type::A", {})
BUILT = Built("server_1", "OS::Nova::Server", "CREATE_COMPLETE", "", "physical")

# All that may be written of a restore, by those who do not know yet that it was cancelled.
LATE: dict[str, Callable[[Ledger, str], object]] = {
    "begin": lambda ledger, id_: ledger.begin(id_),
    "claim": lambda ledger, id_: claim(ledger, id_, 4, "late"),
    "take": lambda ledger, id_: ledger.take(
        id_, RestoreState.CHECKING, "late", lease=LONG, most_attempts=3, worker="late"
    ),
    "renew": lambda ledger, id_: ledger.renew(id_, 0, "t", LONG),
    "wait": lambda ledger, id_: ledger.wait(id_, 0, "t", 1.0, "reason", counts=True),
    "settle": lambda ledger, id_: ledger.settle(id_, 0, "t", ResourceState.DONE, fragments={"a": A}),
    "made": lambda ledger, id_: ledger.note_made(id_, 0, "t", "volume", "physical"),
    "made late": lambda ledger, id_: ledger.note_late(id_, 0, "volume", "another"),
    "gone": lambda ledger, id_: ledger.note_gone(id_, 0, "t", "volume"),
    "discarded": lambda ledger, id_: ledger.discarded(id_, 0, ["volume"]),
    "identify": lambda ledger, id_: ledger.identify(id_, "project"),
    "findings": lambda ledger, id_: ledger.add_findings(id_, [("Type::A", "", "", "field", "late")]),
    "move": lambda ledger, id_: ledger.move(id_, RestoreState.CHECKING, RestoreState.FAILED),
    "look at the restore": lambda ledger, id_: ledger.look(id_, None),
    "look at a resource": lambda ledger, id_: ledger.look(id_, 0),
    "stack begins": lambda ledger, id_: ledger.stacks.begin(id_, STOPPED, "mark", keep=True),
    "stack asked": lambda ledger, id_: ledger.stacks.asked(id_, STOPPED, "stack-1"),
    "stack seen": lambda ledger, id_: ledger.stacks.observe(
        id_, STOPPED, StackLog("stack-1"), [], [BUILT], seen_before=""
    ),
    "stack finished": lambda ledger, id_: ledger.stacks.finish(id_, STOPPED, {"a": "1"}),
    "stack waits": lambda ledger, id_: ledger.stacks.tell(id_, STOPPED, "Heat does not answer"),
    "stack gone": lambda ledger, id_: ledger.stacks.gone(id_, STOPPED, keep=False),
    "stack not followed": lambda ledger, id_: ledger.stacks.unfollow(id_, None),
}


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def own_keys(client: redis.Redis, restore_id: str) -> set[str]:
    return {key for key in client.scan_iter() if restore_id in key}


@pytest.mark.parametrize("write", LATE.values(), ids=LATE.keys())
def test_nothing_that_is_written_late_outlives_its_restore(
    client: redis.Redis, write: Callable[[Ledger, str], object]
) -> None:
    ledger = Ledger(client, patience=0.0, keep_days=1)
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0)
    ledger.move(restore_id, RestoreState.RESTORING, STOPPED)
    for key in own_keys(client, restore_id):
        # In seconds, that is none.
        client.pexpire(key, 499)
    with suppress(StaleLeaseError):
        write(ledger, restore_id)
    assert -1 not in {client.pttl(key) for key in own_keys(client, restore_id)}
    wait_until(lambda: not own_keys(client, restore_id), "it has expired", 10)
    with suppress(StaleLeaseError):
        write(ledger, restore_id)
    assert own_keys(client, restore_id) == set()


def end_somehow(ledger: Ledger, draw: random.Random) -> None:
    """Take a restore to an end, some on a long way and with a late write."""
    if draw.random() < 0.5:
        bring(ledger, draw.choice([RestoreState.COMPLETE, RestoreState.DESTROYED, RestoreState.FORGOTTEN]))
        return
    restore_id = begin(ledger)
    for _ in range(draw.randrange(3)):
        claim(ledger, restore_id, 0)
        ledger.move(restore_id, RestoreState.RESTORING, STOPPED)
        with suppress(StaleLeaseError):
            draw.choice(list(LATE.values()))(ledger, restore_id)
        ledger.resume(restore_id)
        go_on(ledger, restore_id)
    ledger.move(restore_id, RestoreState.RESTORING, STOPPED)
    if draw.random() < 0.5:
        # Destroyed half done.
        rest = WAYS[RestoreState.DESTROYED][-3:]
        for old, new in itertools.pairwise((STOPPED, *rest)):
            assert ledger.move(restore_id, old, new)


def test_of_many_restores_nothing_stays_though_nobody_lists_them(client: redis.Redis) -> None:
    foreign = set(client.scan_iter())
    draw = random.Random(1)
    ledger = Ledger(client, patience=0.5, keep_days=2 * SECOND)
    for _ in range(200):
        end_somehow(ledger, draw)
    assert client.zcard("restores") == 200
    cleared: list[str] = []

    def reconciled() -> bool:
        ledger.reconciling()
        for restore_id, index in ledger.overdue():
            if isinstance(ledger.look(restore_id, index), Ended):
                cleared.append(restore_id)
        tell_all(ledger, settings.load({}))
        return set(client.scan_iter()) - foreign - {"restores:reconciling"} == {"restores:reconciled"}

    wait_until(reconciled, "only the time of the last look is left", 30)
    # Those that lived long enough: some expire before anybody looks.
    assert len(cleared) == len(set(cleared))
