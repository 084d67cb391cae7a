"""How restores take turns: the same tests on the twin and on a real server.

Four messages of a restore are in a queue at once here. Every third one of the leaves is for the queue of transfers.
"""

from __future__ import annotations

import time

import pytest
import redis

from restore_worker.entries import QUEUE, TRANSFER_QUEUE, Claimed, Held, Priority
from restore_worker.ledger import Ledger
from restore_worker.ledger_reader import keys_of
from restore_worker.states import ResourceState, RestoreState
from tests.support.restores import AnyLedger, Ledgers, begin, claim, do, go_on, indices, new_restore, record, told

LEAVES = ((),) * 24
TRANSFERS = list(range(0, 24, 3))
OTHERS = [index for index in range(24) if index not in TRANSFERS]
# When the oldest message was sent, if all that is looked for is older.
YOUNG = {(queue, priority): "9e9" for queue in (QUEUE, TRANSFER_QUEUE) for priority in Priority}


@pytest.fixture
def ledger(ledgers: Ledgers) -> AnyLedger:
    """Give a ledger to whose eyes all that was sent is overdue at once."""
    return ledgers.make(patience=0.0, share=4)


def drawn(ledger: AnyLedger, restore_id: str, index: int, token: str = "t") -> list[int]:
    claimed = claim(ledger, restore_id, index, token)
    assert isinstance(claimed, Claimed)
    return [each.index for each in claimed.drawn]


def looked(ledger: AnyLedger, restore_id: str, index: int) -> list[int]:
    found = ledger.look(restore_id, index)
    assert found is None or isinstance(found, list)
    return [each.index for each in found or []]


def test_few_are_in_each_queue_and_when_half_of_them_are_taken_up_it_is_filled_again(ledger: AnyLedger) -> None:
    restore_id = record(ledger, LEAVES)
    assert sorted(go_on(ledger, restore_id)) == [0, 1, 2, 3, 4, 5, 6, 9]
    assert drawn(ledger, restore_id, 2) == []
    assert drawn(ledger, restore_id, 0) == []
    assert drawn(ledger, restore_id, 1) == [7, 8]
    assert drawn(ledger, restore_id, 9) == [12, 15]
    # Whichever of them.
    assert drawn(ledger, restore_id, 8) == []
    assert drawn(ledger, restore_id, 4) == [10, 11]


def test_what_comes_in_its_place_is_drawn_once_and_told_again_to_who_did_not_hear(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    claim(ledger, restore_id, 2)
    assert drawn(ledger, restore_id, 1) == [7, 8]
    assert drawn(ledger, restore_id, 1) == [7, 8]
    claim(ledger, restore_id, 7)
    assert drawn(ledger, restore_id, 1) == [8]
    ledger.wait(restore_id, 1, "t", 0.0, "reason", counts=True)
    assert drawn(ledger, restore_id, 1, "another") == []


def test_one_that_needs_nobody_any_more_tells_again_what_comes_in_its_place(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), *((0,),) * 11))
    do(ledger, restore_id, 0, ResourceState.FAILED, reason="no quota")
    claim(ledger, restore_id, 1)
    assert indices(claim(ledger, restore_id, 2)) == [7, 8]
    assert indices(claim(ledger, restore_id, 2, "again")) == [7, 8]


def test_who_drew_nothing_is_told_of_nothing_that_another_one_drew(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    claim(ledger, restore_id, 2)
    assert drawn(ledger, restore_id, 1, "first") == [7, 8]
    ledger.wait(restore_id, 1, "first", 0.0, "reason", counts=True)
    assert drawn(ledger, restore_id, 1, "second") == drawn(ledger, restore_id, 1, "second") == []


def test_sent_again_is_only_what_was_sent(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    assert sorted(each.index for each in ledger.begin(restore_id) or []) == [0, 1, 2, 3, 4, 5, 6, 9]
    claim(ledger, restore_id, 1)
    claim(ledger, restore_id, 4)
    assert sorted(each.index for each in ledger.begin(restore_id) or []) == [0, 2, 3, 5, 6, 7, 8, 9]


def test_what_fits_into_a_turn_is_sent_at_once(ledger: AnyLedger) -> None:
    restore_id = record(ledger, LEAVES[:6])
    assert sorted(go_on(ledger, restore_id)) == [0, 1, 2, 3, 4, 5]
    assert [drawn(ledger, restore_id, index) for index in range(6)] == [[]] * 6


def test_many_parents_of_one_child_take_turns_too(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), *((0,),) * 9))
    assert sorted(do(ledger, restore_id, 0)) == [1, 2, 3, 4, 5, 6, 9]
    # A late copy of the task tells of those, and of none that stand in line.
    assert indices(claim(ledger, restore_id, 0, "late")) == [1, 2, 3, 4, 5, 6, 9]
    assert drawn(ledger, restore_id, 1) == []
    assert drawn(ledger, restore_id, 2) == [7, 8]
    assert indices(claim(ledger, restore_id, 0, "late")) == [3, 4, 5, 6, 7, 8, 9]


def test_many_small_fan_outs_at_once_take_turns_too(ledger: AnyLedger) -> None:
    # Eight transfers, one after the other, of which each releases two others that nobody takes up.
    children = [
        ((index - 3,) if index >= 3 else ()) if index % 3 == 0 else (index - index % 3,) for index in range(24)
    ]
    restore_id = begin(ledger, tuple(children))
    queue = [each for child in TRANSFERS for each in do(ledger, restore_id, child) if each in OTHERS]
    assert queue == OTHERS[:4]
    seen = []
    while queue:
        seen.append(queue.pop(0))
        queue += drawn(ledger, restore_id, seen[-1])
        assert len(queue) <= 4
    assert seen == OTHERS


def test_what_is_released_while_others_stand_in_line_stands_behind_them(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, (*LEAVES[:11], (1,), (2,)))
    assert do(ledger, restore_id, 1) == []
    assert drawn(ledger, restore_id, 2) == [7, 8]
    assert drawn(ledger, restore_id, 4) == []
    assert drawn(ledger, restore_id, 5) == [10, 11]


def test_one_whose_child_failed_is_settled_with_what_comes_in_its_place(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), *((0,),) * 11, (2,)))
    # 1, 2, 4 and 5, 3, 6 and 9 are sent; 7, 8, 10 and 11 stand in line; 12 needs 2.
    assert sorted(do(ledger, restore_id, 0, ResourceState.FAILED, reason="no quota")) == [1, 2, 3, 4, 5, 6, 9]
    assert indices(claim(ledger, restore_id, 1)) == []
    assert indices(claim(ledger, restore_id, 2)) == [7, 8, 12]
    assert [each.state for each in ledger.resources(restore_id)[2:4]] == [
        ResourceState.SKIPPED,
        ResourceState.READY,
    ]


def test_nobody_looks_for_what_stands_in_line_as_long_as_somebody_will_send_it(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    assert {index for _, index in ledger.overdue()} == set(range(24))
    assert [looked(ledger, restore_id, index) for index in (7, 12, 23)] == [[], [], []]
    assert looked(ledger, restore_id, 1) == [1]


def test_those_that_nobody_sent_are_found(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    claim(ledger, restore_id, 1)
    # Who claims does not live to send them.
    assert drawn(ledger, restore_id, 2) == [7, 8]
    assert [looked(ledger, restore_id, index) for index in (7, 8)] == [[7], [8]]
    assert drawn(ledger, restore_id, 8) == []
    assert drawn(ledger, restore_id, 7) == [10, 11]


def test_a_line_goes_on_though_an_earlier_version_takes_up_without_a_word(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    ledger = Ledger(client, patience=0.0, share=4)
    restore_id = begin(ledger, LEAVES)
    # What that version does: it draws nothing, and notes that it sent what was overdue.
    progress = keys_of(restore_id)["progress"]
    client.hset(progress, mapping={f"{index}.state": "running" for index in (1, 2, 4)})
    client.hset(progress, "8.sent", time.time())
    assert looked(ledger, restore_id, 22) == [7, 10, 11]
    assert drawn(ledger, restore_id, 5) == []
    assert drawn(ledger, restore_id, 7) == [13, 14]


def test_those_that_are_held_from_before_a_resume_keep_nobody_waiting(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    held = [1, 2, 4, 5]
    for index in held:
        claim(ledger, restore_id, index, "before")
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    ledger.resume(restore_id)
    sent = go_on(ledger, restore_id)
    assert sorted(sent) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    for index in held:
        assert isinstance(claim(ledger, restore_id, index, "after"), Held)
    assert drawn(ledger, restore_id, 7) == []
    assert drawn(ledger, restore_id, 8) == [13, 14]


def test_what_stands_in_line_when_a_restore_is_cancelled_is_not_sent_and_resumed_comes_anew(
    ledger: AnyLedger,
) -> None:
    restore_id = begin(ledger, LEAVES)
    do(ledger, restore_id, 1)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert not isinstance(claim(ledger, restore_id, 4), Claimed)
    assert looked(ledger, restore_id, 7) == looked(ledger, restore_id, 4) == []
    ledger.resume(restore_id)
    assert sorted(go_on(ledger, restore_id)) == [0, 2, 3, 4, 5, 6, 7, 9]
    assert drawn(ledger, restore_id, 2) == []
    assert drawn(ledger, restore_id, 5) == [8, 10]


def test_what_a_message_of_before_a_resume_takes_up_in_the_line_is_sent_all_the_same(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    ledger.resume(restore_id)
    go_on(ledger, restore_id)
    # The chord of the new epoch counts only tasks of its own.
    do(ledger, restore_id, 7)
    assert drawn(ledger, restore_id, 1) == []
    assert drawn(ledger, restore_id, 2) == [8, 10, 7]


def test_a_restore_in_turns_comes_to_its_end(ledger: AnyLedger) -> None:
    restore_id = record(ledger, (*LEAVES, tuple(range(24))))
    queue, order = go_on(ledger, restore_id), []
    while queue:
        index = queue.pop(0)
        claimed = claim(ledger, restore_id, index, f"t{index}")
        assert isinstance(claimed, Claimed)
        order.append(index)
        settled = ledger.settle(restore_id, index, f"t{index}", ResourceState.DONE)
        queue += [each.index for each in (*claimed.drawn, *settled.released)]
        assert len([each for each in queue if each in OTHERS]) <= 4
        assert len([each for each in queue if each in TRANSFERS]) <= 4
    assert sorted(order) == list(range(25))
    assert order[-1] == 24
    assert ledger.get(restore_id).left == 0
    assert not [name for name, *_ in told(ledger, restore_id) if name == "resent"]


@pytest.mark.parametrize("priority", Priority)
def test_the_priority_of_a_restore_comes_with_each_of_its_resources(ledger: AnyLedger, priority: Priority) -> None:
    restore_id = ledger.record(new_restore(((), (0,)), priority=priority))
    go_on(ledger, restore_id)
    assert ledger.get(restore_id).priority is priority
    claimed = claim(ledger, restore_id, 0)
    assert isinstance(claimed, Claimed)
    assert claimed.priority is priority
    assert ledger.settle(restore_id, 0, "t", ResourceState.DONE).priority is priority


def test_the_oldest_message_is_known_by_queue_and_priority(ledger: AnyLedger) -> None:
    restore_id = ledger.record(new_restore(((),), priority=Priority.LOW))
    go_on(ledger, restore_id)
    behind = {(TRANSFER_QUEUE, Priority.LOW): "1.0", (TRANSFER_QUEUE, Priority.NORMAL): "9e9"}
    assert ledger.look(restore_id, 0, behind) is None
    assert [each.index for each in ledger.look(restore_id, 0, YOUNG) or []] == [0]
