"""Drills beside other restores, and their end: the same tests on the twin and on a real server."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from restore_worker import submitted
from restore_worker.drills import delete_due
from restore_worker.errors import DuplicateRestoreError, RestoreError
from restore_worker.ledger import Ledger
from restore_worker.ledger_reader import keys_of
from restore_worker.states import RestoreState
from tests.support.recorded import load
from tests.support.restores import WAYS, AnyLedger, Ledgers, bring, do, new_restore, told

SAME = ((),)
COMPLETE, FAILED, CANCELLED = RestoreState.COMPLETE, RestoreState.FAILED, RestoreState.CANCELLED
DESTROYING, DISCARDING, DESTROYED = RestoreState.DESTROYING, RestoreState.DISCARDING, RestoreState.DESTROYED
OVER = {"reason": "the time of the drill is over"}


def drill(ledger: AnyLedger, state: RestoreState, ttl: int = 1) -> str:
    """Write a drill of one resource down and take it to a state; its id."""
    new = new_restore(SAME, ttl=ttl)
    ledger.record(new)
    for old, to in itertools.pairwise((RestoreState.PENDING, *WAYS[state])):
        if to is RestoreState.RESTORING:
            assert ledger.begin(new.id)
            do(ledger, new.id, 0)
        else:
            assert ledger.move(new.id, old, to)
    return new.id


def deleted(ledgers: Ledgers, ledger: AnyLedger, restore_id: str) -> None:
    """Let pass what a drill has to live, and see it deleted by then and not before."""
    due = ledger.get(restore_id).deleted_at
    assert due is not None
    delete_due(ledger)
    assert ledger.get(restore_id).state is not DESTROYING or ledger.now() >= due
    ledgers.until(lambda: ledger.now() >= due, "its time is over")
    delete_due(ledger)
    assert ledger.get(restore_id).state is DESTROYING


@pytest.mark.parametrize("state", [COMPLETE, FAILED, CANCELLED])
def test_it_is_deleted_so_long_after_its_end(ledgers: Ledgers, state: RestoreState) -> None:
    ledger = ledgers.make()
    restore_id = drill(ledger, state)
    record = ledger.get(restore_id)
    assert record.deleted_at == record.updated + timedelta(seconds=1)
    deleted(ledgers, ledger, restore_id)
    assert told(ledger, restore_id)[-1] == ("destroying", None, OVER)


def test_once_however_many_look(ledgers: Ledgers) -> None:
    ledger, other = ledgers.make(), ledgers.make()
    restore_id = drill(ledger, COMPLETE)
    deleted(ledgers, ledger, restore_id)
    for each in (ledger, other):
        delete_due(each)
    assert [name for name, *_ in told(ledger, restore_id)].count("destroying") == 1


@pytest.mark.parametrize("state", [each for each in RestoreState if each not in {COMPLETE, FAILED, CANCELLED}])
def test_what_has_not_ended_or_is_gone_is_left_alone(ledgers: Ledgers, state: RestoreState) -> None:
    ledger = ledgers.make()
    restore_id = drill(ledger, state)
    ledgers.sleep(1.1)
    delete_due(ledger)
    assert (ledger.get(restore_id).state, ledger.get(restore_id).deleted_at) == (state, None)
    gone = state in {DESTROYED, RestoreState.FORGOTTEN}
    assert ledger.drills() == ([] if gone else [restore_id])


def test_a_restore_that_is_no_drill_stays(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    restore_id = bring(ledger, COMPLETE)
    assert (ledger.drills(), ledger.get(restore_id).deleted_at) == ([], None)
    delete_due(ledger)
    assert ledger.get(restore_id).state is COMPLETE


def test_one_that_never_came_to_a_cloud_has_nothing_to_delete_until_it_is_resumed(ledger: AnyLedger) -> None:
    new = new_restore(SAME, ttl=1, identity="")
    ledger.record(new)
    ledger.move(new.id, RestoreState.PENDING, RestoreState.CHECKING)
    ledger.move(new.id, RestoreState.CHECKING, FAILED)
    assert ledger.get(new.id).deleted_at is None
    delete_due(ledger)
    assert (ledger.get(new.id).state, ledger.drills()) == (FAILED, [new.id])


def test_one_that_could_not_be_deleted_is_deleted_again_soon(
    ledgers: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = ledgers.make()
    restore_id = drill(ledger, COMPLETE, ttl=86400)
    assert ledger.move(restore_id, COMPLETE, DESTROYING)
    assert ledger.move(restore_id, DESTROYING, FAILED, "somebody uses it")
    record = ledger.get(restore_id)
    assert record.deleted_at == record.updated + timedelta(minutes=10)
    short = drill(ledger, COMPLETE)
    for _ in range(2):
        deleted(ledgers, ledger, short)
        assert ledger.move(short, DESTROYING, DISCARDING)
        assert ledger.move(short, DISCARDING, FAILED, "it is attached elsewhere")
    assert f"drill {short} is still there, and is deleted again: it is attached elsewhere" in caplog.text
    assert told(ledger, short)[-3] == (
        "destroying",
        None,
        {"reason": "the time of the drill is over and was not deleted before"},
    )


def test_one_that_is_resumed_has_all_its_time_again(ledger: AnyLedger) -> None:
    restore_id = drill(ledger, COMPLETE, ttl=86400)
    ledger.move(restore_id, COMPLETE, DESTROYING)
    ledger.move(restore_id, DESTROYING, FAILED)
    assert ledger.resume(restore_id)
    assert ledger.get(restore_id).deleted_at is None
    ledger.move(restore_id, RestoreState.PENDING, CANCELLED)
    record = ledger.get(restore_id)
    assert record.deleted_at == record.updated + timedelta(days=1)


def test_a_drill_neither_hinders_nor_is_hindered(ledger: AnyLedger) -> None:
    living = bring(ledger, COMPLETE)
    first, second = (new_restore(SAME, ttl=60) for _ in range(2))
    assert [ledger.record(each) for each in (first, second)] == [first.id, second.id]
    with pytest.raises(DuplicateRestoreError, match=living):
        ledger.record(new_restore(SAME))
    for state, to in ((COMPLETE, DESTROYING), (DESTROYING, DISCARDING), (DISCARDING, DESTROYED)):
        ledger.move(living, state, to)
    real = new_restore(SAME)
    assert ledger.record(real) == real.id


def test_a_key_is_for_a_drill_or_for_a_restore(ledger: AnyLedger) -> None:
    first = new_restore(SAME, ttl=60, key="weekly-1")
    ledger.record(first)
    assert ledger.record(replace(first, id=new_restore(SAME).id, ttl=90)) == first.id
    with pytest.raises(DuplicateRestoreError, match="which is of another purpose"):
        ledger.record(new_restore(SAME, key="weekly-1"))


def test_a_drill_is_not_forgotten(ledger: AnyLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitted, "caller_ledger", lambda: ledger)
    restore_id = drill(ledger, COMPLETE)
    with pytest.raises(RestoreError, match="it is a drill, which is deleted after its time"):
        submitted.Restore(restore_id).forget()
    assert ledger.get(restore_id).state is COMPLETE


def test_an_earlier_versions_restore_is_no_drill(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        restore_id = load(client, "failed", {})
        ledger = Ledger(client)
        record = ledger.get(restore_id)
        assert (record.ttl, record.leaving, record.deleted_at, ledger.drills()) == (0, False, None, [])
        delete_due(ledger)
        assert ledger.get(restore_id).state is FAILED


def test_one_that_has_expired_or_is_unreadable_keeps_no_other_waiting(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        ledger = Ledger(client)
        expired, broken, due = (drill(ledger, COMPLETE) for _ in range(3))
        client.delete(*keys_of(expired).values())
        for each, fields in ((broken, {"ttl": "?"}), (due, {"updated": 1})):
            client.hset(keys_of(each)["record"], mapping=fields)
        delete_due(ledger)
        assert ledger.drills() == sorted((broken, due))
        assert ledger.get(due).state is DESTROYING
