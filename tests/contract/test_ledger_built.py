"""What is built directly, and where, in the ledger: the same tests on the twin and on a real server."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from restore_worker.entries import Claimed
from restore_worker.errors import StaleLeaseError
from restore_worker.states import RestoreState
from tests.support.restores import DIAMOND, AnyLedger, begin, bring, claim, go_on, new_restore, told


def test_what_was_built_directly_is_noted_once(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    ledger.note_made(restore_id, 0, "mine", "volume", "")
    assert ledger.made(restore_id, 0, "volume") is None
    for _ in range(2):
        ledger.note_made(restore_id, 0, "mine", "volume", "physical")
    assert ledger.made(restore_id, 0, "volume") == "physical"
    assert ledger.made(restore_id, 4, "volume") is None
    made = [each for each in told(ledger, restore_id) if each[0] == "made"]
    assert made == [("made", 0, {"key": "volume", "physical_id": "physical"})]


def test_what_was_built_directly_and_is_gone_can_be_built_again(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    ledger.note_made(restore_id, 0, "mine", "image", "first")
    ledger.note_made(restore_id, 0, "mine", "volume/1", "volume")
    for _ in range(2):
        ledger.note_gone(restore_id, 0, "mine", "image")
    assert ledger.made(restore_id, 0, "image") is None
    claim(ledger, restore_id, 4, "other")
    ledger.note_made(restore_id, 4, "other", "image", "second")
    assert ledger.all_made(restore_id) == {0: {"volume/1": "volume"}, 4: {"image": "second"}}
    gone = [each for each in told(ledger, restore_id) if each[0] == "gone"]
    assert gone == [("gone", 0, {"key": "image"})]


def test_what_is_built_too_late_is_noted_beside_what_others_build(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    for _ in range(2):
        ledger.note_late(restore_id, 0, "volume", "late")
        ledger.note_late(restore_id, 0, "volume", "later")
    assert ledger.made(restore_id, 0, "volume") is None
    assert ledger.all_made(restore_id) == {0: {"volume late": "late", "volume later": "later"}}
    # One of them is found, and is the resource's from then on.
    ledger.note_made(restore_id, 0, "mine", "volume", "late")
    ledger.note_late(restore_id, 0, "volume", "late")
    assert ledger.all_made(restore_id) == {0: {"volume": "late", "volume later": "later"}}
    made = [details for name, _, details in told(ledger, restore_id) if name == "made"]
    assert made == [{"key": "volume", "physical_id": each} for each in ("late", "later")]
    ledger.note_late("none", 0, "volume", "late")
    assert ledger.all_made("none") == {}


def test_nothing_new_is_built_for_a_restore_that_was_stopped(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    ledger.note_made(restore_id, 0, "mine", "image", "")
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    with pytest.raises(StaleLeaseError):
        ledger.note_made(restore_id, 0, "mine", "image", "")
    # What it was just making is there all the same.
    ledger.note_made(restore_id, 0, "mine", "image", "physical")
    assert ledger.all_made(restore_id) == {0: {"image": "physical"}}


def test_what_is_discarded_is_noted_while_the_restore_is_discarding_and_not_else(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((),))
    claim(ledger, restore_id, 0, "mine")
    for key in ("image", "volume"):
        ledger.note_made(restore_id, 0, "mine", key, f"physical {key}")
    for old, new in itertools.pairwise(
        (RestoreState.RESTORING, RestoreState.CANCELLED, RestoreState.DESTROYING, RestoreState.DISCARDING)
    ):
        ledger.discarded(restore_id, 0, ["image"])
        assert ledger.made(restore_id, 0, "image")
        ledger.move(restore_id, old, new)
    for _ in range(2):
        ledger.discarded(restore_id, 0, ["image", "never made"])
    assert ledger.all_made(restore_id) == {0: {"volume": "physical volume"}}
    assert [each for each in told(ledger, restore_id) if each[0] == "gone"] == [("gone", 0, {"key": "image"})]


def test_which_cloud_it_is_says_the_first_who_knows(ledger: AnyLedger) -> None:
    new = replace(new_restore(DIAMOND), identity="")
    ledger.record(new)
    assert ledger.get(new.id).identity == ""
    assert ledger.identify(new.id, "project one") == "project one"
    assert ledger.identify(new.id, "project two") == "project one"
    assert ledger.get(new.id).identity == "project one"
    go_on(ledger, new.id)
    claimed = claim(ledger, new.id, 0)
    assert isinstance(claimed, Claimed)
    assert claimed.identity == "project one"


def test_a_restore_of_which_anything_may_be_discarded_is_not_resumed(ledger: AnyLedger) -> None:
    restore_id = bring(ledger, RestoreState.DISCARDING)
    assert ledger.move(restore_id, RestoreState.DISCARDING, RestoreState.FAILED)
    assert ledger.resume(restore_id) == 0


def test_how_far_a_transfer_is_is_told_by_who_holds_it(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    ledger.note_moved(restore_id, 0, "mine", 1 << 20)
    ledger.note_moved(restore_id, 0, "mine", 5 << 20)
    with pytest.raises(StaleLeaseError):
        ledger.note_moved(restore_id, 0, "somebody's", 9 << 20)
    moved = [(each.index, each.details) for each in ledger.events(restore_id) if each.name == "moved"]
    assert moved == [(0, {"bytes": str(1 << 20)}), (0, {"bytes": str(5 << 20)})]
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    with pytest.raises(StaleLeaseError):
        ledger.note_moved(restore_id, 0, "mine", 6 << 20)
