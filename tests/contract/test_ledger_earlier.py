"""The same submitted twice, or under the same key: the same tests on the twin and on a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restore_worker.entries import NewRestore
from restore_worker.errors import DuplicateRestoreError
from restore_worker.states import RestoreState
from tests.support.restores import DEAD, AnyLedger, begin, bring, claim, go_on, new_restore, record

# As `bring` writes it down.
SAME = ((),)
OVER = {RestoreState.DESTROYED, RestoreState.FORGOTTEN}
# `bring` takes it there before anything is made.
NOTHING_MADE = {RestoreState.FAILED, RestoreState.CANCELLED}


def refusal(ledger: AnyLedger, new: NewRestore) -> str:
    before = [each.id for each in ledger.restores()]
    with pytest.raises(DuplicateRestoreError) as refused:
        ledger.record(new)
    assert [each.id for each in ledger.restores()] == before
    return str(refused.value)


def written(ledger: AnyLedger, new: NewRestore, *, force: bool = False) -> bool:
    return ledger.record(new, force=force) == new.id == ledger.get(new.id).id


@pytest.mark.parametrize("state", RestoreState)
def test_the_same_hinders_while_something_of_it_is_there_or_may_come(
    ledger: AnyLedger, state: RestoreState
) -> None:
    earlier = bring(ledger, state)
    if state in OVER | NOTHING_MADE:
        assert written(ledger, new_restore(SAME))
    else:
        told = refusal(ledger, new_restore(SAME))
        assert told.startswith(
            f"checkpoint checkpoint-1 is restored to cloud target already, by restore {earlier}, "
        )
        assert f"which is {state}: `restore-worker " in told
        assert written(ledger, new_restore(SAME), force=True)


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        (RestoreState.RESTORING, "watch"),
        (RestoreState.DESTROYING, "watch"),
        (RestoreState.COMPLETE, "destroy"),
    ],
)
def test_what_to_do_is_told(ledger: AnyLedger, state: RestoreState, advice: str) -> None:
    earlier = bring(ledger, state)
    told = refusal(ledger, new_restore(SAME))
    assert f"`restore-worker {advice} {earlier}`" in told
    assert "--force" in told


def cancelled(ledger: AnyLedger) -> str:
    restore_id = begin(ledger, SAME)
    claim(ledger, restore_id, 0, "mine", lease=DEAD)
    return restore_id


def test_one_that_was_stopped_hinders_once_it_may_have_made_something(ledger: AnyLedger) -> None:
    made, working, at_heat = cancelled(ledger), cancelled(ledger), bring(ledger, RestoreState.CREATING)
    ledger.note_made(made, 0, "mine", "volume", "physical")
    ledger.wait(made, 0, "mine", DEAD, "reason", counts=False)
    states = {made: RestoreState.RESTORING, working: RestoreState.RESTORING, at_heat: RestoreState.CREATING}
    for stopped, state in states.items():
        ledger.move(stopped, state, RestoreState.CANCELLED)
        told = refusal(ledger, new_restore(SAME))
        assert f"{stopped}, which is cancelled: `restore-worker resume {stopped}` goes on with it" in told
        ledger.move(stopped, RestoreState.CANCELLED, RestoreState.DESTROYING)
        ledger.move(stopped, RestoreState.DESTROYING, RestoreState.DISCARDING)
        ledger.move(stopped, RestoreState.DISCARDING, RestoreState.DESTROYED)


def test_one_whose_destruction_failed_half_way_hinders(ledger: AnyLedger) -> None:
    earlier = bring(ledger, RestoreState.DISCARDING)
    ledger.move(earlier, RestoreState.DISCARDING, RestoreState.FAILED, "reason")
    assert ledger.get(earlier).discarded
    assert f"{earlier}, which is failed" in refusal(ledger, new_restore(SAME))


@pytest.mark.parametrize(
    "other",
    [
        {"checkpoint": "checkpoint-2"},
        {"cloud": "elsewhere", "identity": ""},
        {"identity": "project q of http://keystone"},
        {"cloud": "", "identity": ""},
    ],
    ids=str,
)
def test_another_checkpoint_cloud_or_project_is_another_matter(ledger: AnyLedger, other: dict[str, str]) -> None:
    bring(ledger, RestoreState.COMPLETE)
    assert written(ledger, replace(new_restore(SAME), **other))


def test_another_selection_is_another_matter_and_the_order_is_none(ledger: AnyLedger) -> None:
    record(ledger, ((), (0,)))
    assert written(ledger, new_restore(SAME))
    both = new_restore(((), ()))
    swapped = [replace(both.nodes[1], index=0), replace(both.nodes[0], index=1)]
    assert "already" in refusal(ledger, replace(both, nodes=swapped))


@pytest.mark.parametrize("unknown", ["earlier", "later"])
def test_of_a_cloud_that_could_not_be_asked_the_name_counts(ledger: AnyLedger, unknown: str) -> None:
    ledger.record(new_restore(SAME, identity="" if unknown == "earlier" else "project p of http://keystone"))
    identity = "" if unknown == "later" else "project p of http://keystone"
    assert "already" in refusal(ledger, new_restore(SAME, identity=identity))
    assert written(ledger, new_restore(SAME, cloud="other", identity=identity))


def test_one_cloud_under_two_names_is_one(ledger: AnyLedger) -> None:
    record(ledger, SAME)
    assert "already" in refusal(ledger, new_restore(SAME, cloud="another name"))


def test_the_same_restore_written_again_is_written_already(ledger: AnyLedger) -> None:
    new = new_restore(SAME)
    assert written(ledger, new)
    go_on(ledger, new.id)
    assert written(ledger, new)
    assert ledger.get(new.id).state is RestoreState.RESTORING


# Keys


def test_the_same_key_is_the_same_restore(ledger: AnyLedger) -> None:
    first = new_restore(SAME, key="nightly-17")
    ledger.record(first)
    for _ in range(2):
        assert ledger.record(new_restore(SAME, key="nightly-17")) == first.id
    assert [each.id for each in ledger.restores()] == [first.id]
    assert ledger.get(first.id).key == "nightly-17"
    assert ledger.record(new_restore(SAME, key="nightly-17"), force=True) == first.id
    assert "already" in refusal(ledger, new_restore(SAME, key="nightly-18"))
    # Whatever became of it.
    ledger.move(first.id, RestoreState.PENDING, RestoreState.CANCELLED)
    assert ledger.record(new_restore(SAME, key="nightly-17")) == first.id
    assert written(ledger, new_restore(SAME, key="nightly-18"))


def test_a_key_counts_for_renderings_too(ledger: AnyLedger) -> None:
    rendering = {"cloud": "", "identity": "", "wants_stack": False, "key": "one"}
    first = new_restore(SAME, **rendering)
    assert ledger.record(first) == ledger.record(new_restore(SAME, **rendering)) == first.id
    assert written(ledger, new_restore(SAME, **rendering | {"key": "two"}))
    assert written(ledger, new_restore(SAME, **rendering | {"key": ""}))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"checkpoint": "checkpoint-2"}, "another checkpoint"),
        ({"cloud": "elsewhere", "identity": "project q of http://keystone"}, "another cloud"),
        ({"cloud": "", "identity": ""}, "another cloud"),
        ({"checkpoint": "checkpoint-2", "nodes": ()}, "another checkpoint and another selection of resources"),
    ],
    ids=str,
)
def test_a_key_that_was_given_to_another_request_is_refused(ledger: AnyLedger, other, said: str) -> None:
    first = new_restore(SAME, key="one")
    ledger.record(first)
    told = refusal(ledger, new_restore(SAME, key="one", **other))
    assert told == (
        f"the idempotency key one is that of restore {first.id}, which is of {said}: "
        "give another request another key"
    )
