"""What the reconciler asks a ledger: the same tests on the twin and on a real server."""

from __future__ import annotations

import itertools

import pytest

from restore_worker.entries import QUEUE, TRANSFER_QUEUE, Ended, Held, Idle, Priority, Taken
from restore_worker.errors import UnknownRestoreError
from restore_worker.states import FINAL_RESTORE_STATES, ResourceState, RestoreState
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
    assert ledger.look(restore_id, 4) == [node(4)]
    claim(ledger, restore_id, 0, "lives")
    claim(ledger, restore_id, 4, "is dead", lease=DEAD)
    assert ledger.overdue() == [(restore_id, 4)]
    assert ledger.look(restore_id, 0) is None
    assert ledger.look(restore_id, 4) == [node(4)]
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
    assert ledger.look(restore_id, 0) == [node(0)]


def test_what_was_released_is_watched_too(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (0,)))
    do(ledger, restore_id, 0)
    assert ledger.overdue() == [(restore_id, 1)]
    assert ledger.look(restore_id, 1) == [node(1)]


def test_messages_in_a_queue_are_backlog_and_not_lost(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), ()))
    assert node(0).queue == TRANSFER_QUEUE
    sent = ledger.sent(restore_id, 0)
    # However long that goes on: its message may be there as long as none is older, or nobody knows how old it is.
    for first in (sent, str(float(sent) - 1), "0"):
        for _ in range(9):
            assert ledger.look(restore_id, 0, {(TRANSFER_QUEUE, Priority.NORMAL): first}) is None
    assert ledger.look(restore_id, 0, {(QUEUE, Priority.NORMAL): sent}) == [node(0)]
    # One that was taken up and lost is not in the queue, whatever else is.
    claim(ledger, restore_id, 0, lease=DEAD)
    assert ledger.look(restore_id, 0, {(TRANSFER_QUEUE, Priority.NORMAL): sent}) == [node(0)]
    assert [each[0] for each in told(ledger, restore_id)].count("resent") == 2


def test_what_was_sent_before_the_oldest_message_is_lost(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.0)
    restore_id = begin(ledger, ((), (0,), (0,)))
    do(ledger, restore_id, 0)
    first, batch = ledger.sent(restore_id, 1), {(QUEUE, Priority.NORMAL): ledger.sent(restore_id, 2)}
    assert ledger.look(restore_id, 1, batch) is None
    ledgers.sleep(0.002)
    assert ledger.look(restore_id, 2, {(TRANSFER_QUEUE, Priority.NORMAL): first}) == [node(2)]
    # Sent again just now, and taken from in order: the other one is not there any more.
    assert ledger.look(restore_id, 1, {(QUEUE, Priority.NORMAL): ledger.sent(restore_id, 2)}) == [node(1)]
    assert ledger.sent("none", 0) == "0"


def take(ledger: AnyLedger, restore_id: str, state: RestoreState, token: str, lease: float = LONG) -> object:
    return ledger.take(restore_id, state, token, lease=lease, most_attempts=2, worker="w")


def test_a_step_is_taken_by_one_and_by_the_next_once_that_is_dead(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.CHECKING)
    state = RestoreState.CHECKING
    assert take(ledger, restore_id, RestoreState.ASSEMBLING, "one") == Idle()
    assert take(ledger, restore_id, state, "one") == Taken(1)
    assert ledger.overdue() == []
    assert isinstance(take(ledger, restore_id, state, "two"), Held)
    assert ledger.renew(restore_id, None, "one", DEAD)
    assert ledger.look(restore_id, None) is state
    assert take(ledger, restore_id, state, "two") == Taken(2)
    assert told(ledger, restore_id)[-1] == ("repeated", None, {"reason": "checking, attempt 2", "worker": "w"})
    # The first one lives after all, and has nothing to say any more.
    assert not ledger.renew(restore_id, None, "one", LONG)
    assert not ledger.wait(restore_id, None, "one", 1.0, "busy", counts=True)
    assert not ledger.move(restore_id, state, RestoreState.FAILED, "stale", token="one")
    assert ledger.move(restore_id, state, RestoreState.FAILED, "it is so", token="two")


def test_a_step_that_kills_its_worker_each_time_is_given_up(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.CHECKING)
    for attempt in (1, 2):
        assert take(ledger, restore_id, RestoreState.CHECKING, str(attempt), DEAD) == Taken(attempt)
    assert take(ledger, restore_id, RestoreState.CHECKING, "last") == Idle()
    ended = ledger.get(restore_id)
    assert ended.state is RestoreState.FAILED
    assert ended.reason == "checking was given up after 2 attempts: the worker that held it vanished each time"
    assert ledger.look(restore_id, None) == Ended(1)
    assert ledger.overdue() == []


def test_a_step_that_waits_counts_only_what_is_to_be_counted(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.CREATING)
    for token in "abcd":
        assert take(ledger, restore_id, RestoreState.CREATING, token) == Taken(1)
        assert ledger.wait(restore_id, None, token, DEAD, "Heat is away", counts=False)
    assert [each[0] for each in told(ledger, restore_id)].count("waiting") == 1
    assert take(ledger, restore_id, RestoreState.CREATING, "e") == Taken(1)
    assert ledger.wait(restore_id, None, "e", LONG, "Heat is away", counts=True)
    assert ledger.overdue() == []
    assert isinstance(take(ledger, restore_id, RestoreState.CREATING, "f"), Held)


def test_the_next_state_has_a_step_of_its_own(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.ASSEMBLING)
    assert take(ledger, restore_id, RestoreState.ASSEMBLING, "one", DEAD) == Taken(1)
    assert ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.CREATING, token="one")
    assert take(ledger, restore_id, RestoreState.CREATING, "two") == Taken(1)
    assert ledger.move(restore_id, RestoreState.CREATING, RestoreState.CANCELLED)
    assert ledger.resume(restore_id)
    assert ledger.move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    assert not ledger.renew(restore_id, None, "two", LONG)
    assert take(ledger, restore_id, RestoreState.CHECKING, "three") == Taken(1)


def test_looks_become_rarer_until_there_is_news(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.5)
    restore_id = begin(ledger, ((),))

    def look() -> None:
        ledgers.until(ledger.overdue, "it is overdue")
        assert ledger.look(restore_id, 0) == [node(0)]
        assert ledger.overdue() == []

    for _ in range(3):
        look()
    claim(ledger, restore_id, 0, lease=DEAD)
    for _ in range(2):
        look()
    resent = [each.time for each in ledger.events(restore_id) if each.name == "resent"]
    first, second, _, fourth = ((new - old).total_seconds() for old, new in itertools.pairwise(resent))
    assert first > 0.49
    assert second > 0.99
    assert fourth < 1.9


def test_a_step_of_the_restore_is_news_too(ledgers: Ledgers) -> None:
    ledger = ledgers.make(patience=0.5)
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
    assert 0.49 < (new - old).total_seconds() < 1.9


def test_what_is_over_is_not_looked_at_any_more(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, lease=DEAD)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    ledger.resume(restore_id)
    assert ledger.overdue() == [(restore_id, None)]
    go_on(ledger, restore_id)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    for place in ledger.overdue():
        assert ledger.look(*place) == (Ended(2) if place[1] is None else None)
    assert ledger.overdue() == []
    ledger.resume(restore_id)
    assert ledger.overdue() == [(restore_id, None)]
    go_on(ledger, restore_id)
    assert set(ledger.overdue()) == {(restore_id, 0), (restore_id, 4)}


def test_failures_are_watched_to_the_end(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (0,)))
    do(ledger, restore_id, 0, ResourceState.FAILED)
    assert ledger.look(restore_id, 1) == [node(1)]
    claim(ledger, restore_id, 1)
    assert ledger.overdue() == [(restore_id, None)]
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    ledger.move(restore_id, RestoreState.ASSEMBLING, RestoreState.FAILED)
    assert ledger.look(restore_id, None) == Ended(1)
    assert ledger.overdue() == []


@pytest.mark.parametrize("state", sorted(FINAL_RESTORE_STATES), ids=str)
def test_what_has_ended_is_cleared_away_once_and_forgotten_after_its_life(
    ledgers: Ledgers, state: RestoreState
) -> None:
    ledger = ledgers.make(patience=0.5, keep_days=3 / 86400)
    restore_id = bring(ledger, state)
    assert ledger.look(restore_id, None) is None
    ledgers.until(ledger.overdue, "its messages had their time")
    before = told(ledger, restore_id)
    assert ledger.look(restore_id, None) == Ended(1)
    assert (ledger.overdue(), told(ledger, restore_id)) == ([], before)
    ledgers.until(ledger.overdue, "its life is over")
    with pytest.raises(UnknownRestoreError):
        ledger.get(restore_id)
    assert ledger.look(restore_id, None) is None
    assert (ledger.overdue(), list(ledger.restores())) == ([], [])


def test_what_goes_on_before_it_was_cleared_away_is_not(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.CANCELLED)
    ledger.resume(restore_id)
    assert ledger.look(restore_id, None) is RestoreState.PENDING
    ledger.move(restore_id, RestoreState.PENDING, RestoreState.CANCELLED)
    assert ledger.look(restore_id, None) == Ended(2)


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
    assert ledger.reconciling()
    ledgers.until(lambda: (ledger.unreconciled_seconds() or 0) > 0.02, "time passes")
    # Two beats, or one after another worker's start: one pass is enough.
    assert not ledger.reconciling()
    ledgers.until(ledger.reconciling, "a moment later it is time for the next")
    assert (ledger.unreconciled_seconds() or 0) < 5
