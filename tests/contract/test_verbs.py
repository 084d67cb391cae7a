"""What each verb does in each state, through the public door: every cell of the table, on the twin and a real server."""

from __future__ import annotations

import itertools

import pytest

from restore_worker import submitted
from restore_worker.errors import RestoreError
from restore_worker.states import (
    RESTORE_TRANSITIONS,
    VERBS,
    Already,
    Goes,
    Obstacle,
    Refused,
    RestoreState,
    Verb,
)
from restore_worker.submitted import Restore
from tests.support.restores import AnyLedger, bring, new_restore, snapshot


class Door:
    """A restore in a state, as a user has it, and the first messages that were sent for it."""

    def __init__(self, ledger: AnyLedger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = ledger
        self.sent: list[tuple[str, int]] = []
        monkeypatch.setattr(submitted, "caller_ledger", lambda: ledger)
        monkeypatch.setattr(submitted, "start", lambda *message: self.sent.append(message))

    def bring(self, state: RestoreState) -> Restore:
        """Return one that has a stack if it ever came to Heat."""
        restore_id = bring(self.ledger, RestoreState.CREATING) if state is RestoreState.COMPLETE else None
        if restore_id is None:
            return Restore(bring(self.ledger, state))
        self.ledger.stacks.begin(restore_id, RestoreState.CREATING, "", keep=True)
        assert self.ledger.stacks.asked(restore_id, RestoreState.CREATING, "stack-id")
        assert self.ledger.move(restore_id, RestoreState.CREATING, RestoreState.COMPLETE)
        return Restore(restore_id)

    def refusal(self, restore: Restore, verb: Verb) -> str:
        """Return why a verb is refused; nothing may have changed."""
        before = snapshot(self.ledger, restore.id)
        with pytest.raises(RestoreError) as refused:
            getattr(restore, verb)()
        assert snapshot(self.ledger, restore.id) == before
        assert self.sent == []
        return str(refused.value)


@pytest.fixture
def door(ledger: AnyLedger, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(ledger, monkeypatch)


def test_the_table_has_every_cell_and_allows_only_what_states_allow() -> None:
    for verb, state in itertools.product(Verb, RestoreState):
        answer = VERBS[verb][state]
        if isinstance(answer, Goes):
            assert (state, answer.to) in RESTORE_TRANSITIONS


@pytest.mark.parametrize("state", RestoreState, ids=str)
@pytest.mark.parametrize("verb", Verb, ids=str)
def test_a_verb_does_in_a_state_what_the_table_says(door: Door, verb: Verb, state: RestoreState) -> None:
    restore = door.bring(state)
    match VERBS[verb][state]:
        case Refused(why):
            assert door.refusal(restore, verb) == f"restore {restore.id} is {state}: {why}"
        case Already():
            before = snapshot(door.ledger, restore.id)
            for _ in range(2):
                getattr(restore, verb)()
            assert snapshot(door.ledger, restore.id) == before
        case Goes(to):
            # Once more is no error: it is so already.
            for _ in range(2):
                getattr(restore, verb)()
                assert restore.status.state is to
            assert [each.name for each in door.ledger.events(restore.id)][-2:] != [to, to]
    # The first message of an epoch may be sent twice, and is by whoever finds that it is still to come.
    pending = restore.status.state is RestoreState.PENDING
    assert set(door.sent) == ({(restore.id, restore.status.epoch)} if verb is Verb.RESUME and pending else set())


def test_what_else_stands_in_the_way_is_told(door: Door) -> None:
    half_destroyed = door.bring(RestoreState.DISCARDING)
    door.ledger.move(half_destroyed.id, RestoreState.DISCARDING, RestoreState.FAILED, "reason")
    rendering = new_restore([()], cloud="", identity="", wants_stack=False)
    door.ledger.record(rendering)
    door.ledger.move(rendering.id, RestoreState.PENDING, RestoreState.CANCELLED)
    unknown = new_restore([()], identity="")
    door.ledger.record(unknown, force=True)
    door.ledger.move(unknown.id, RestoreState.PENDING, RestoreState.CANCELLED)
    without_stack = Restore(bring(door.ledger, RestoreState.COMPLETE))
    for restore, verb, obstacle in (
        (half_destroyed, Verb.RESUME, Obstacle.DISCARDED),
        (Restore(rendering.id), Verb.DESTROY, Obstacle.NO_CLOUD),
        (Restore(unknown.id), Verb.DESTROY, Obstacle.NO_CLOUD),
        (without_stack, Verb.FORGET, Obstacle.NO_STACK),
    ):
        expected = f"restore {restore.id} is {restore.status.state}: {obstacle}"
        assert door.refusal(restore, verb) == expected
    half_destroyed.destroy()
    assert half_destroyed.status.state is RestoreState.DESTROYING


def test_whoever_was_faster_is_taken_for_what_he_did(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state changes between the look and the step."""
    move = door.ledger.move

    def overtaken(restore_id: str, old: RestoreState, new: RestoreState, *more: object) -> bool:
        monkeypatch.setattr(door.ledger, "move", move)
        assert move(restore_id, RestoreState.CREATING, other)
        return move(restore_id, old, new, *more)  # type: ignore[arg-type]  # as it came

    for other in (RestoreState.CANCELLED, RestoreState.COMPLETE):
        restore = door.bring(RestoreState.CREATING)
        monkeypatch.setattr(door.ledger, "move", overtaken)
        if other is RestoreState.CANCELLED:
            restore.cancel()
        else:
            with pytest.raises(RestoreError, match="is complete: it came to its end before"):
                restore.cancel()
        assert restore.status.state is other


def test_watch_tells_of_a_destruction_what_happens_from_then_on(door: Door) -> None:
    restore = door.bring(RestoreState.COMPLETE)
    door.refusal(Restore(restore.id), Verb.CANCEL)
    restore.destroy()
    door.ledger.stacks.gone(restore.id, RestoreState.DESTROYING, keep=False)
    for old, new in itertools.pairwise((RestoreState.DESTROYING, RestoreState.DISCARDING, RestoreState.DESTROYED)):
        door.ledger.move(restore.id, old, new)
    assert [each and each.name for each in restore.watch()] == ["destroying", "discarding", "destroyed"]
