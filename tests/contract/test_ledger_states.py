"""The way of a restore in the ledger: the same tests on the twin and on a real server."""

from __future__ import annotations

import itertools

import pytest

from restore_worker.entries import Claimed, Held, Idle
from restore_worker.errors import LedgerError, StaleLeaseError
from restore_worker.hot import Hot
from restore_worker.states import RESTORE_TRANSITIONS, ResourceState, RestoreState, may_follow
from restore_worker.template import HeatParameter, HeatResource
from tests.support.restores import (
    LONG,
    AnyLedger,
    Ledgers,
    begin,
    bring,
    claim,
    do,
    go_on,
    indices,
    snapshot,
    states,
    told,
)

A = HeatResource("Type::A", {"name": "a"})
B = HeatParameter("physical-b", "Type::B")


@pytest.mark.parametrize("state", RestoreState)
def test_a_restore_goes_from_state_to_state_only_as_the_table_allows(
    ledger: AnyLedger, state: RestoreState
) -> None:
    for old, new in itertools.product(RestoreState, RestoreState):
        restore_id = bring(ledger, state)
        before = snapshot(ledger, restore_id)
        if not may_follow(old, new):
            with pytest.raises(LedgerError):
                ledger.move(restore_id, old, new)
        elif ledger.move(restore_id, old, new, "reason"):
            found = ledger.get(restore_id)
            assert (state, found.state, found.reason) == (old, new, "reason")
            assert told(ledger, restore_id)[-1] == (new, None, {"reason": "reason"})
            continue
        else:
            assert state is not old
        assert snapshot(ledger, restore_id) == before


@pytest.mark.parametrize("state", RestoreState)
def test_begin_and_resume_keep_to_the_table_too(ledger: AnyLedger, state: RestoreState) -> None:
    restore_id = bring(ledger, state)
    begun = ledger.begin(restore_id)
    now = ledger.get(restore_id).state
    assert (begun is None) == (now is not RestoreState.RESTORING)
    assert now is state or (state, now) in RESTORE_TRANSITIONS
    resumed = bring(ledger, state)
    epoch = ledger.resume(resumed)
    assert epoch == (2 if (state, RestoreState.PENDING) in RESTORE_TRANSITIONS else 0)
    assert ledger.get(resumed).state is (RestoreState.PENDING if epoch else state)
    assert ledger.resume(resumed) == 0


def test_who_checked_for_an_epoch_that_was_stopped_does_not_begin_the_next_one(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.CHECKING)
    ledger.move(restore_id, RestoreState.CHECKING, RestoreState.CANCELLED)
    assert ledger.resume(restore_id) == 2
    ledger.move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    before = snapshot(ledger, restore_id)
    assert ledger.begin(restore_id, 1) is None
    assert snapshot(ledger, restore_id) == before
    for epoch in (2, 2, None):
        assert [each.index for each in ledger.begin(restore_id, epoch) or ()] == [0]
    assert ledger.begin(restore_id, 1) is None


def test_nothing_is_assembled_as_long_as_something_is_left(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), ()))
    do(ledger, restore_id, 0)
    before = snapshot(ledger, restore_id)
    assert not ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    assert snapshot(ledger, restore_id) == before
    do(ledger, restore_id, 1, ResourceState.FAILED)
    assert ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    assert not ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)


def test_the_template_comes_with_the_step_that_made_it(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.ASSEMBLING)
    hot = Hot("heat_template_version: '2016-10-14'\n# ü\n", {"p_volume": "physical"}, ("p_image",), 3)
    assert ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.CREATING, hots=[hot])
    assert ledger.move(restore_id, RestoreState.CREATING, RestoreState.COMPLETE)
    assert ledger.template(restore_id) == hot


def test_resume_goes_over_what_is_not_done(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    do(ledger, restore_id, 0, fragments={"a": A})
    do(ledger, restore_id, 1, ResourceState.FAILED, reason="no")
    do(ledger, restore_id, 2)
    claim(ledger, restore_id, 3)
    do(ledger, restore_id, 4, fragments={"b": B})
    assert states(ledger, restore_id) == "dofadoskdo"
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.FAILED, "reason")
    assert ledger.resume(restore_id) == 2
    found = ledger.get(restore_id)
    assert (found.state, found.reason, found.epoch) == (RestoreState.PENDING, "", 2)
    assert (found.size, found.left, found.failed) == (5, 2, 0)
    assert states(ledger, restore_id) == "doredopldo"
    opened = ledger.resources(restore_id)[1]
    assert (opened.attempts, opened.reason, opened.ended) == (0, "", None)
    assert claim(ledger, restore_id, 1, "early") == Idle()
    assert go_on(ledger, restore_id) == [1]
    assert do(ledger, restore_id, 1, fragments={"c": A}) == [3]
    again = claim(ledger, restore_id, 3)
    assert isinstance(again, Claimed)
    assert (again.attempts, again.epoch) == (1, 2)
    ledger.settle(restore_id, 3, "t", ResourceState.DONE)
    assert ledger.get(restore_id).left == 0
    assert ledger.fragments(restore_id).keys() == {"a", "b", "c"}


def test_cancel_stops_what_runs_and_resume_takes_it_up_again(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    restore_id = begin(ledger, ((), (0,), (), (0, 2), ()))
    claim(ledger, restore_id, 0, "before", lease=0.5)
    claim(ledger, restore_id, 2, "waits")
    ledger.wait(restore_id, 2, "waits", LONG, "reason", counts=False)
    do(ledger, restore_id, 4)
    assert ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED, "by its user")
    assert claim(ledger, restore_id, 0, "other") == Idle()
    with pytest.raises(StaleLeaseError):
        ledger.settle(restore_id, 0, "before", ResourceState.DONE, fragments={"a": A})
    assert ledger.resume(restore_id) == 2
    assert states(ledger, restore_id) == "replrepldo"
    assert sorted(go_on(ledger, restore_id)) == [0, 2]
    with pytest.raises(StaleLeaseError):
        ledger.settle(restore_id, 0, "before", ResourceState.DONE)
    # It may be making something just now, which the next one could not find yet, and which must not be forgotten.
    ledger.note_made(restore_id, 0, "before", "volume", "physical")
    ledger.note_made(restore_id, 0, "before", "image", "physical image")
    ledger.note_gone(restore_id, 0, "before", "image")
    assert ledger.renew(restore_id, 0, "before", 0.5)
    assert not ledger.renew(restore_id, 2, "waits", LONG)
    assert isinstance(claim(ledger, restore_id, 0, "after"), Held)
    ledgers.until(lambda: isinstance(claim(ledger, restore_id, 0, "after"), Claimed), "the lease ends")
    with pytest.raises(StaleLeaseError):
        ledger.settle(restore_id, 0, "before", ResourceState.DONE)
    with pytest.raises(StaleLeaseError):
        ledger.note_made(restore_id, 0, "before", "volume", "another")
    assert not ledger.renew(restore_id, 0, "before", LONG)
    assert not ledger.wait(restore_id, 0, "before", LONG, "reason", counts=True)
    assert ledger.all_made(restore_id) == {0: {"volume": "physical"}}
    assert indices(ledger.settle(restore_id, 0, "after", ResourceState.DONE)) == [1]
    assert do(ledger, restore_id, 2) == [3]


def test_who_held_a_resource_before_a_resume_lets_it_go_to_the_next_one(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((),))
    claim(ledger, restore_id, 0, "before")
    for _ in range(2):
        # However often: it is still that worker's.
        assert ledger.move(restore_id, ledger.get(restore_id).state, RestoreState.CANCELLED)
        assert ledger.resume(restore_id)
        with pytest.raises(StaleLeaseError):
            ledger.note_made(restore_id, 0, "before", "volume", "")
        assert go_on(ledger, restore_id) == [0]
        assert isinstance(claim(ledger, restore_id, 0, "after"), Held)
        assert ledger.renew(restore_id, 0, "before", LONG)
        ledger.note_made(restore_id, 0, "before", "volume", "")
    assert states(ledger, restore_id) == "re"
    assert ledger.wait(restore_id, 0, "before", LONG, "reason", counts=True)
    assert not ledger.wait(restore_id, 0, "before", LONG, "reason", counts=True)
    again = claim(ledger, restore_id, 0, "after")
    assert isinstance(again, Claimed)
    assert again.attempts == 1


def test_a_late_copy_sends_nothing_into_an_epoch_that_has_not_begun(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (0,)))
    assert do(ledger, restore_id, 0) == [1]
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert indices(claim(ledger, restore_id, 0, "late copy")) == []
    ledger.resume(restore_id)
    assert indices(claim(ledger, restore_id, 0, "late copy")) == []
    assert indices(ledger.settle(restore_id, 0, "token of 0", ResourceState.DONE)) == []
    assert go_on(ledger, restore_id) == [1]
    assert indices(claim(ledger, restore_id, 0, "late copy")) == [1]


def test_a_restore_stopped_with_nothing_left_has_only_its_template_to_make(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.ASSEMBLING)
    ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.CANCELLED)
    assert ledger.resume(restore_id) == 2
    assert go_on(ledger, restore_id) == []
    assert ledger.get(restore_id).left == 0
    assert ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
