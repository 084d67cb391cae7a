"""What the reconciler asks a ledger: the same tests on the twin and on a real server."""

from __future__ import annotations

import itertools

import pytest

from restore_worker.entries import QUEUE, TRANSFER_QUEUE
from restore_worker.states import ResourceState, RestoreState
from tests.support.restores import (
    DEAD,
    LONG,
    AnyLedger,
    Ledgers,
    begin,
    bring,
    claim,
    do,
    go_on,
    node,
    record,
    told,
)


@pytest.fixture
def ledger(ledgers: Ledgers) -> AnyLedger:
    """Give a ledger to whose eyes all that was sent is overdue at once."""
    return ledgers.make(patience=0.0)


def test_nothing_is_overdue_before_its_time(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=LONG)
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, lease=LONG)
    assert ledger.overdue() == []
    assert ledger.look(restore_id, 0) is None
    assert ledger.look(restore_id, 4) is None
    assert ledger.look(restore_id, None) is None


def test_what_was_sent_is_looked_at_once_its_time_is_over(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.05)
    restore_id = record(ledger)
    ledgers.until(lambda: ledger.overdue() == [(restore_id, None)], "the preflight is overdue")


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ((), RestoreState.PENDING),
        ((RestoreState.CHECKING,), RestoreState.CHECKING),
        ((RestoreState.CHECKING, RestoreState.RESTORING), RestoreState.RESTORING),
        ((RestoreState.CHECKING, RestoreState.RESTORING, RestoreState.ASSEMBLING), RestoreState.ASSEMBLING),
    ],
)
def test_a_restore_that_stands_still_is_to_be_sent_its_step_again(
    ledger: AnyLedger, steps: tuple[RestoreState, ...], state: RestoreState
) -> None:
    restore_id = record(ledger, ((),))
    old = RestoreState.PENDING
    for new in steps:
        if new is RestoreState.RESTORING:
            ledger.begin(restore_id)
            do(ledger, restore_id, 0)
        else:
            ledger.move(restore_id, old, new)
        old = new
    assert ledger.overdue() == [(restore_id, None)]
    assert ledger.look(restore_id, None) is state
    assert told(ledger, restore_id)[-1] == ("resent", None, {"reason": f"{state} for too long"})


@pytest.mark.parametrize("state", [RestoreState.CREATING, RestoreState.DISCARDING])
def test_so_is_one_that_is_destroyed_or_that_heat_was_not_asked_for(
    ledger: AnyLedger, state: RestoreState
) -> None:
    restore_id = bring(ledger, state)
    assert ledger.overdue() == [(restore_id, None)]
    ledger.stacks.begin(restore_id, state, "mark", keep=True)
    for _ in range(2):
        assert ledger.look(restore_id, None) is state


@pytest.mark.parametrize(
    "state", [RestoreState.CREATING, RestoreState.DESTROYING, RestoreState.FORGETTING], ids=str
)
def test_what_heat_works_on_is_the_pollers(ledger: AnyLedger, state: RestoreState) -> None:
    restore_id = bring(ledger, state)
    if state is RestoreState.CREATING:
        ledger.stacks.begin(restore_id, state, "", keep=True)
        assert ledger.stacks.asked(restore_id, state, "stack-1")
    before = ledger.events(restore_id)
    for _ in range(2):
        assert ledger.look(restore_id, None) is None
    assert ledger.events(restore_id) == before


def test_heat_is_asked_anew_each_time_that_a_restore_comes_so_far(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.CREATING)
    ledger.stacks.begin(restore_id, RestoreState.CREATING, "", keep=True)
    ledger.stacks.asked(restore_id, RestoreState.CREATING, "stack-1")
    ledger.move(restore_id, RestoreState.CREATING, RestoreState.FAILED)
    ledger.resume(restore_id)
    go_on(ledger, restore_id)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.CREATING)
    assert ledger.look(restore_id, None) is RestoreState.CREATING


def test_a_resource_is_sent_again_when_its_message_or_its_worker_is_lost(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    assert set(ledger.overdue()) == {(restore_id, 0), (restore_id, 4)}
    assert ledger.look(restore_id, 4) == node(4)
    claim(ledger, restore_id, 0, "lives")
    claim(ledger, restore_id, 4, "is dead", lease=DEAD)
    assert ledger.overdue() == [(restore_id, 4)]
    assert ledger.look(restore_id, 0) is None
    assert ledger.look(restore_id, 4) == node(4)
    assert told(ledger, restore_id)[-1] == ("resent", 4, {"reason": "running for too long"})
    ledger.wait(restore_id, 0, "lives", LONG, "reason", counts=False)
    assert ledger.overdue() == [(restore_id, 4)]
    do(ledger, restore_id, 4)
    assert ledger.overdue() == []
    assert ledger.look(restore_id, 4) is None


def test_a_resource_that_waits_is_sent_again_some_time_after_it_was_due(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((),))
    claim(ledger, restore_id, 0)
    ledger.wait(restore_id, 0, "t", DEAD, "reason", counts=False)
    assert ledger.overdue() == [(restore_id, 0)]
    assert ledger.look(restore_id, 0) == node(0)


def test_what_was_released_is_watched_too(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (0,)))
    do(ledger, restore_id, 0)
    assert ledger.overdue() == [(restore_id, 1)]
    assert ledger.look(restore_id, 1) == node(1)


def test_messages_in_a_queue_are_backlog_and_not_lost(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), ()))
    assert node(0).queue == TRANSFER_QUEUE
    assert ledger.look(restore_id, 0, [TRANSFER_QUEUE]) is None
    assert ledger.look(restore_id, 0, [QUEUE]) == node(0)
    # One that was taken up and lost is not in the queue, whatever else is.
    claim(ledger, restore_id, 0, lease=DEAD)
    assert ledger.look(restore_id, 0, [TRANSFER_QUEUE]) == node(0)
    assert [each[0] for each in told(ledger, restore_id)].count("resent") == 2


def test_looks_become_rarer_until_there_is_news(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.1)
    restore_id = begin(ledger, ((),))

    def look() -> None:
        ledgers.until(ledger.overdue, "it is overdue")
        assert ledger.look(restore_id, 0) == node(0)
        assert ledger.overdue() == []

    for _ in range(3):
        look()
    claim(ledger, restore_id, 0, lease=DEAD)
    for _ in range(2):
        look()
    resent = [each.time for each in ledger.events(restore_id) if each.name == "resent"]
    first, second, _, fourth = ((new - old).total_seconds() for old, new in itertools.pairwise(resent))
    assert first > 0.19
    assert second > 0.39
    assert fourth < 0.79


def test_a_step_of_the_restore_is_news_too(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.1)
    restore_id = record(ledger)

    def look(state: RestoreState) -> None:
        ledgers.until(ledger.overdue, "it is overdue")
        assert ledger.look(restore_id, None) is state

    for _ in range(3):
        look(RestoreState.PENDING)
    ledger.move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    for _ in range(2):
        look(RestoreState.CHECKING)
    *_, old, new = (each.time for each in ledger.events(restore_id) if each.name == "resent")
    assert 0.19 < (new - old).total_seconds() < 0.79


def test_what_is_over_is_not_looked_at_any_more(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, lease=DEAD)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    ledger.resume(restore_id)
    assert ledger.overdue() == [(restore_id, None)]
    go_on(ledger, restore_id)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    for place in ledger.overdue():
        assert ledger.look(*place) is None
    assert ledger.overdue() == []
    ledger.resume(restore_id)
    assert ledger.overdue() == [(restore_id, None)]
    go_on(ledger, restore_id)
    assert set(ledger.overdue()) == {(restore_id, 0), (restore_id, 4)}


def test_failures_are_watched_to_the_end(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (0,)))
    do(ledger, restore_id, 0, ResourceState.FAILED)
    assert ledger.look(restore_id, 1) == node(1)
    claim(ledger, restore_id, 1)
    assert ledger.overdue() == [(restore_id, None)]
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.FAILED)
    assert ledger.overdue() == []


def test_only_so_many_are_given_at_a_time_and_the_longest_overdue_first(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.0)
    made = []
    for _ in range(3):
        made.append((record(ledger), None))
        ledgers.sleep(0.002)
    assert ledger.overdue(limit=2) == made[:2]


def test_when_the_reconciler_ran_is_known(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    assert ledger.unreconciled_seconds() is None
    ledger.note_reconciled()
    ledgers.until(lambda: (ledger.unreconciled_seconds() or 0) > 0.02, "time passes")
    ledger.note_reconciled()
    assert (ledger.unreconciled_seconds() or 0) < 5
