"""Workers that are still making something when their resource is not theirs any more: a real ledger, and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

import pytest
import redis

from restore_worker import discarding, worker
from restore_worker.bank import Bank
from restore_worker.belongings import belongings
from restore_worker.building import Builder
from restore_worker.context import RestoreContext
from restore_worker.entries import Claimed, Held
from restore_worker.errors import StaleLeaseError
from restore_worker.lease import LeaseKeeper
from restore_worker.ledger import Ledger
from restore_worker.resource import Resource, ResourceKey
from restore_worker.states import ResourceState, RestoreState
from tests.support.processes import wait_until
from tests.support.restores import begin, claim, go_on, told

LEASE = 1.0


@dataclass
class Slow:
    """A cloud that answers a creation when it is told to; lists: what bears the mark is found."""

    lists: bool = True
    made: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)

    def create(self) -> str:
        self.asked.set()
        assert self.answers.wait(60)
        self.made.append(f"volume {len(self.made) + 1}")
        return self.made[-1]

    def find(self) -> str | None:
        return self.made[0] if self.lists and self.made else None


@pytest.fixture
def ledger(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        ledger = Ledger(client)
        monkeypatch.setattr(worker, "current_ledger", lambda: ledger)
        yield ledger


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def build(cloud: Slow, restore_id: str, token: str) -> str | None:
    """Build as the plugin of the restore's only resource does."""
    resource = Resource(ResourceKey("Type::0", "id-0"), "")
    builder = Builder(restore_id, 0, token, "target", "project p")
    context = RestoreContext(restore_id, "checkpoint-1", resource, cast("Bank", None), None, builder)
    return context.once("volume", cloud.create, cloud.find)


def test_what_is_in_the_making_when_its_restore_is_cancelled_and_resumed_is_built_once(
    ledger: Ledger, pool: ThreadPoolExecutor
) -> None:
    # Only the ledger knows of it.
    cloud, restore_id, leases = Slow(lists=False), begin(ledger, ((),)), LeaseKeeper(ledger, LEASE)
    claim(ledger, restore_id, 0, "before", lease=LEASE)
    with leases.holding(restore_id, 0, "before"):
        making = pool.submit(build, cloud, restore_id, "before")
        assert cloud.asked.wait(60)
        ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
        ledger.resume(restore_id)
        go_on(ledger, restore_id)
        # The creation outlasts the lease, which is renewed.
        deadline = time.monotonic() + 3 * LEASE
        while time.monotonic() < deadline:
            assert isinstance(claim(ledger, restore_id, 0, "after"), Held)
        cloud.answers.set()
        assert making.result(60) == "volume 1"
    with pytest.raises(StaleLeaseError):
        ledger.settle(restore_id, 0, "before", ResourceState.DONE)
    assert ledger.wait(restore_id, 0, "before", 0.0, "the restore was stopped", counts=False)
    assert isinstance(claim(ledger, restore_id, 0, "after"), Claimed)
    assert build(cloud, restore_id, "after") == "volume 1"
    ledger.settle(restore_id, 0, "after", ResourceState.DONE)
    assert cloud.made == ["volume 1"]
    assert ledger.all_made(restore_id) == {0: {"volume": "volume 1"}}


@pytest.mark.parametrize("second_finds_it", [False, True])
def test_what_is_made_after_its_lease_is_known_all_the_same(
    ledger: Ledger, pool: ThreadPoolExecutor, second_finds_it: bool
) -> None:
    cloud, restore_id = Slow(lists=second_finds_it), begin(ledger, ((),))
    claim(ledger, restore_id, 0, "frozen", lease=0.01)
    making = pool.submit(build, cloud, restore_id, "frozen")
    assert cloud.asked.wait(60)
    wait_until(lambda: isinstance(claim(ledger, restore_id, 0, "other"), Claimed), "the lease ends")
    if not second_finds_it:
        other = Slow(made=["volume 0"])
        assert build(other, restore_id, "other") == "volume 0"
    cloud.answers.set()
    with pytest.raises(StaleLeaseError):
        making.result(60)
    if second_finds_it:
        assert build(cloud, restore_id, "other") == "volume 1"
    shown = [(each.type, each.id) for each in belongings(ledger, restore_id)]
    ids = ["volume 1"] if second_finds_it else ["volume 0", "volume 1"]
    assert shown == [("volume for Type::0", each) for each in ids]
    assert [details["physical_id"] for name, _, details in told(ledger, restore_id) if name == "made"] == ids


def test_what_was_made_once_too_often_is_discarded_under_its_key() -> None:
    made: Mapping[str, str] = {"image": "a", "volume": "b", "volume c": "c", "volume d": "d"}
    each = list(discarding.one_of_each(made))
    assert each == [{"image": "a", "volume": "b"}, {"volume": "c"}, {"volume": "d"}]
