"""What the ledger knows of stacks: the same tests on the twin and on a real server."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from restore_worker.entries import Built, StackLog
from restore_worker.stack_ledger import Begun, StackChange
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.support.restores import AnyLedger, Ledgers, bring, go_on, record, snapshot, told
from tests.support.stack_twin import FOLLOWED_RESTORE_STATES

CREATING, DESTROYING = RestoreState.CREATING, RestoreState.DESTROYING
SERVER = Built("server_1", "OS::Nova::Server", "CREATE_COMPLETE", "state changed", "physical-1")
VOLUME = Built("volume_1", "OS::Cinder::Volume", "CREATE_FAILED", "näin ei käy", "")
CHANGES = [StackChange("server_1", "CREATE_IN_PROGRESS", ""), StackChange("server_1", "CREATE_COMPLETE", "done")]


def observe(
    ledger: AnyLedger,
    restore_id: str,
    seen: tuple[str, str],
    state: RestoreState = CREATING,
    built: tuple[Built, ...] = (SERVER, VOLUME),
) -> bool:
    """Note what one look at the stack brought. seen: the last event before and now."""
    log = StackLog("stack-1", "CREATE_IN_PROGRESS", "reason", seen[1])
    return ledger.stacks.observe(restore_id, state, log, CHANGES, built, seen_before=seen[0])


def again(ledger: AnyLedger, restore_id: str) -> None:
    """Take a restore that is being created through a failure and back."""
    assert ledger.move(restore_id, CREATING, RestoreState.FAILED)
    ledger.resume(restore_id)
    go_on(ledger, restore_id)
    for old, new in itertools.pairwise((RestoreState.RESTORING, RestoreState.ASSEMBLING, CREATING)):
        assert ledger.move(restore_id, old, new)


def test_nothing_is_known_of_a_stack_that_nobody_asked_for(ledger: AnyLedger) -> None:
    for restore_id in (record(ledger), "none"):
        assert ledger.stacks.get(restore_id) == StackLog()
        assert ledger.stacks.built(restore_id) == []


def test_a_step_begins_once_with_what_the_stack_was_like(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, CREATING)
    # What is under way still does not count.
    assert ledger.stacks.begin(restore_id, CREATING, "busy", keep=False) == Begun("busy", asked=False)
    assert ledger.stacks.begin(restore_id, CREATING, "", keep=True) == Begun("", asked=False)
    for keep in (True, False):
        assert ledger.stacks.begin(restore_id, CREATING, "new", keep=keep) == Begun("", asked=False)
    assert ledger.stacks.asked(restore_id, CREATING, "stack-1")
    assert ledger.stacks.begin(restore_id, CREATING, "new", keep=True) == Begun("", asked=True)
    assert ledger.stacks.get(restore_id) == StackLog(id="stack-1")


def test_it_begins_anew_each_time_that_the_restore_comes_so_far(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, CREATING)
    ledger.stacks.begin(restore_id, CREATING, "", keep=True)
    ledger.stacks.asked(restore_id, CREATING, "stack-1")
    again(ledger, restore_id)
    # Who began it the last time, and has been away since, has asked for nothing of this time.
    assert not ledger.stacks.asked(restore_id, CREATING, "stack-1")
    assert ledger.stacks.begin(restore_id, CREATING, "failed", keep=True) == Begun("failed", asked=False)
    ledger.stacks.asked(restore_id, CREATING, "stack-1")
    ledger.move(restore_id, CREATING, RestoreState.COMPLETE)
    ledger.move(restore_id, RestoreState.COMPLETE, DESTROYING)
    assert ledger.stacks.begin(restore_id, DESTROYING, "complete", keep=True) == Begun("complete", asked=False)
    assert ledger.stacks.get(restore_id).id == "stack-1"


WRITES: dict[str, Callable[[AnyLedger, str, RestoreState], Any]] = {
    "begin": lambda ledger, id_, state: ledger.stacks.begin(id_, state, "mark", keep=True),
    "asked": lambda ledger, id_, state: ledger.stacks.asked(id_, state, "stack-2"),
    "observe": lambda ledger, id_, state: observe(ledger, id_, ("", "event-1"), state),
    "finish": lambda ledger, id_, state: ledger.stacks.finish(id_, state, {"server-1": "{}"}),
    "tell": lambda ledger, id_, state: ledger.stacks.tell(id_, state, "Heat does not answer"),
    "gone": lambda ledger, id_, state: ledger.stacks.gone(id_, state, keep=False),
    "unfollow": lambda ledger, id_, state: ledger.stacks.unfollow(id_, state),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_belongs_to_another_state_is_not_written(ledger: AnyLedger, write) -> None:
    restore_id = bring(ledger, CREATING)
    ledger.stacks.begin(restore_id, CREATING, "", keep=True)
    ledger.stacks.asked(restore_id, CREATING, "stack-1")
    ledger.stacks.finish(restore_id, CREATING, {"server-1": "[]"})
    before = snapshot(ledger, restore_id)
    for state in set(RestoreState) - {CREATING}:
        assert not write(ledger, restore_id, state)
        assert snapshot(ledger, restore_id) == before
    assert not write(ledger, "none", CREATING)
    write(ledger, restore_id, CREATING)
    if write is not WRITES["begin"]:
        assert snapshot(ledger, restore_id) != before


def test_what_two_pollers_see_is_noted_once(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, CREATING)
    assert observe(ledger, restore_id, ("", "event-2"))
    before = snapshot(ledger, restore_id)
    assert not observe(ledger, restore_id, ("", "event-2"))
    # Nor does one that has seen less take anything back.
    assert not observe(ledger, restore_id, ("", "event-1"), built=(VOLUME._replace(status="INIT_COMPLETE"),))
    assert snapshot(ledger, restore_id) == before
    assert ledger.stacks.get(restore_id) == StackLog("stack-1", "CREATE_IN_PROGRESS", "reason", "event-2")
    assert ledger.stacks.built(restore_id) == [SERVER, VOLUME]
    news = [(each.name, each.status, each.reason) for each in CHANGES]
    expected = [
        ("stack", None, {"name": name, "status": status, "reason": reason}) for name, status, reason in news
    ]
    assert told(ledger, restore_id)[-2:] == expected


def test_what_has_changed_takes_the_place_of_what_was(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, CREATING)
    assert observe(ledger, restore_id, ("", "event-1"))
    mended = VOLUME._replace(status="UPDATE_COMPLETE", reason="", physical_id="physical-2")
    assert observe(ledger, restore_id, ("event-1", "event-2"), built=(mended,))
    assert ledger.stacks.built(restore_id) == [SERVER, mended]
    # Nothing happened but that the stack's own status is another.
    log = StackLog("stack-1", "CREATE_COMPLETE", "", "event-2")
    assert ledger.stacks.observe(restore_id, CREATING, log, [], [], seen_before="event-2")
    assert ledger.stacks.get(restore_id) == log
    assert ledger.stacks.built(restore_id) == [SERVER, mended]


def test_outputs_are_kept(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, CREATING)
    ledger.stacks.begin(restore_id, CREATING, "", keep=True)
    ledger.stacks.asked(restore_id, CREATING, "stack-1")
    outputs = {"server-1.networks": '{"nät": ["10.0.0.4"]}'}
    ledger.stacks.finish(restore_id, CREATING, outputs)
    ledger.move(restore_id, CREATING, RestoreState.COMPLETE)
    assert ledger.stacks.get(restore_id) == StackLog("stack-1", outputs=outputs)


def test_what_is_waited_for_is_told_once_until_there_is_news(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, CREATING)
    for reason in ("Heat does not answer", "Heat does not answer", "another cloud", "Heat does not answer"):
        ledger.stacks.tell(restore_id, CREATING, reason)
    observe(ledger, restore_id, ("", "event-1"))
    ledger.stacks.tell(restore_id, CREATING, "Heat does not answer")
    waiting = [details["reason"] for name, _, details in told(ledger, restore_id) if name == "waiting"]
    assert waiting == ["Heat does not answer", "another cloud", *2 * ["Heat does not answer"]]


@pytest.mark.parametrize("keep", [True, False])
def test_a_stack_that_is_gone_is_none_and_what_it_built_is_with_it_or_stays(ledger: AnyLedger, keep: bool) -> None:
    restore_id = bring(ledger, CREATING)
    ledger.stacks.begin(restore_id, CREATING, "", keep=True)
    ledger.stacks.asked(restore_id, CREATING, "stack-1")
    observe(ledger, restore_id, ("", "event-1"))
    ledger.stacks.finish(restore_id, CREATING, {"a": "1"})
    ledger.move(restore_id, CREATING, RestoreState.FAILED)
    ledger.move(restore_id, RestoreState.FAILED, DESTROYING)
    for _ in range(2):
        ledger.stacks.gone(restore_id, DESTROYING, keep=keep)
    assert ledger.stacks.get(restore_id) == StackLog(status="DELETE_COMPLETE")
    assert ledger.stacks.built(restore_id) == ([SERVER, VOLUME] if keep else [])


@pytest.mark.parametrize("state", RestoreState)
def test_restores_are_followed_while_heat_works_on_their_stacks(ledger: AnyLedger, state: RestoreState) -> None:
    restore_id = bring(ledger, state)
    assert ledger.stacks.followed() == ([restore_id] if state in FOLLOWED_RESTORE_STATES else [])
    if state in FINAL_RESTORE_STATES:
        ledger.resume(restore_id)
        assert ledger.stacks.followed() == []


@pytest.mark.parametrize("end", [RestoreState.CANCELLED, RestoreState.FAILED])
def test_a_creation_that_has_ended_is_followed_until_heat_is_done(ledger: AnyLedger, end: RestoreState) -> None:
    restore_id, other = bring(ledger, CREATING), bring(ledger, CREATING)
    ledger.move(restore_id, CREATING, end)
    assert ledger.stacks.followed() == sorted([restore_id, other])
    ledger.stacks.unfollow(restore_id, end)
    assert ledger.stacks.followed() == [other]
    # One that is destroyed meanwhile is not lost sight of.
    ledger.move(restore_id, end, DESTROYING)
    ledger.stacks.unfollow(restore_id, end)
    assert ledger.stacks.followed() == sorted([restore_id, other])
    ledger.move(other, CREATING, end)
    ledger.resume(other)
    assert ledger.stacks.followed() == [restore_id]


def test_a_restore_that_has_expired_can_be_followed_no_more(ledgers: Ledgers) -> None:
    ledger = ledgers.make(keep_days=1 / 86400)
    restore_id = bring(ledger, CREATING)
    ledger.move(restore_id, CREATING, RestoreState.CANCELLED)
    ledger.stacks.unfollow(restore_id, None)
    assert ledger.stacks.followed() == [restore_id]
    ledgers.until(lambda: not list(ledger.restores()), "the restore has expired")
    assert ledger.stacks.get(restore_id) == StackLog()
    ledger.stacks.unfollow(restore_id, None)
    assert ledger.stacks.followed() == []


def test_one_polls_at_a_time(ledger: AnyLedger) -> None:
    with ledger.stacks.polling(60) as first, ledger.stacks.polling(60) as second:
        assert (first, second) == (True, False)
        with ledger.stacks.polling(60) as third:
            assert not third
    with pytest.raises(ZeroDivisionError), ledger.stacks.polling(60):
        raise ZeroDivisionError
    with ledger.stacks.polling(60) as after:
        assert after
