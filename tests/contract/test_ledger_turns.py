"""How restores take turns: the same tests on the twin and on a real server.

Two messages of a restore are in a queue at once here. Of twelve leaves, four are for the queue of transfers.
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

LEAVES = ((),) * 12
OTHERS, TRANSFERS = [1, 2, 4, 5, 7, 8, 10, 11], [0, 3, 6, 9]
# When the oldest message was sent, if all that is looked for is older.
YOUNG = {(queue, priority): "9e9" for queue in (QUEUE, TRANSFER_QUEUE) for priority in Priority}


@pytest.fixture
def ledger(ledgers: Ledgers) -> AnyLedger:
    """Give a ledger to whose eyes all that was sent is overdue at once."""
    return ledgers.make(patience=0.0, share=2)


def drawn(ledger: AnyLedger, restore_id: str, index: int, token: str = "t") -> list[int]:
    claimed = claim(ledger, restore_id, index, token)
    assert isinstance(claimed, Claimed)
    return [each.index for each in claimed.drawn]


def looked(ledger: AnyLedger, restore_id: str, index: int) -> list[int]:
    found = ledger.look(restore_id, index)
    assert found is None or isinstance(found, list)
    return [each.index for each in found or []]


def test_few_are_in_each_queue_and_the_first_of_them_that_is_taken_up_brings_the_next(ledger: AnyLedger) -> None:
    restore_id = record(ledger, LEAVES)
    assert go_on(ledger, restore_id) == [0, 1, 2, 3]
    assert drawn(ledger, restore_id, 2) == []
    assert drawn(ledger, restore_id, 1) == [4, 5]
    assert drawn(ledger, restore_id, 0) == [6, 9]
    assert drawn(ledger, restore_id, 5) == []
    assert drawn(ledger, restore_id, 4) == [7, 8]
    assert drawn(ledger, restore_id, 7) == [10, 11]
    assert [drawn(ledger, restore_id, index) for index in (3, 6, 8, 9, 10, 11)] == [[]] * 6


def test_a_lot_is_drawn_once(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    assert drawn(ledger, restore_id, 1) == [4, 5]
    assert drawn(ledger, restore_id, 1) == []
    ledger.wait(restore_id, 1, "t", 0.0, "reason", counts=True)
    assert drawn(ledger, restore_id, 1, "another") == []


def test_sent_again_is_only_what_was_sent(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    assert [each.index for each in ledger.begin(restore_id) or []] == [0, 1, 2, 3]
    claim(ledger, restore_id, 1)
    assert [each.index for each in ledger.begin(restore_id) or []] == [0, 2, 3, 4, 5]


def test_what_fits_into_a_turn_is_sent_at_once(ledger: AnyLedger) -> None:
    restore_id = record(ledger, LEAVES[:2])
    assert go_on(ledger, restore_id) == [0, 1]
    assert drawn(ledger, restore_id, 0) == drawn(ledger, restore_id, 1) == []


def test_many_parents_of_one_child_take_turns_too(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), *((0,),) * 8))
    assert do(ledger, restore_id, 0) == [1, 2, 3, 6]
    # A late copy of the task tells of those, and of none that stand in line.
    assert indices(claim(ledger, restore_id, 0, "late")) == [1, 2, 3, 6]
    assert drawn(ledger, restore_id, 1) == [4, 5]
    assert indices(claim(ledger, restore_id, 0, "late")) == [2, 3, 4, 5, 6]


def test_what_is_released_while_others_stand_in_line_stands_behind_them_or_goes_at_once(ledger: AnyLedger) -> None:
    few, many = ((1, 0),), ((2,),) * 9
    restore_id = begin(ledger, (*LEAVES, *few, *many))
    do(ledger, restore_id, 0)
    assert do(ledger, restore_id, 1) == [12]
    # 13 to 21: two of each queue at once, the rest stands behind those that stood there before.
    assert do(ledger, restore_id, 2) == [13, 14, 15, 18]
    assert drawn(ledger, restore_id, 4) == [7, 8]
    assert drawn(ledger, restore_id, 7) == [10, 11]
    assert drawn(ledger, restore_id, 10) == [16, 17]
    assert drawn(ledger, restore_id, 16) == [19, 20]
    assert drawn(ledger, restore_id, 15) == [21]


def test_one_whose_child_failed_is_settled_with_what_comes_after_it(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (), *((0, 1),) * 8, (2,)))
    do(ledger, restore_id, 1)
    # 2 and 4, 3 and 6 are sent; 5, 7, 8 and 9 stand in line; 10 needs 2.
    assert do(ledger, restore_id, 0, ResourceState.FAILED, reason="no quota") == [2, 3, 4, 6]
    assert indices(claim(ledger, restore_id, 2)) == [5, 7, 10]
    assert indices(claim(ledger, restore_id, 3)) == [9]
    assert indices(claim(ledger, restore_id, 5)) == [8]
    assert [each.state for each in ledger.resources(restore_id)[2:6]] == [
        ResourceState.SKIPPED,
        ResourceState.SKIPPED,
        ResourceState.READY,
        ResourceState.SKIPPED,
    ]


def test_nobody_looks_for_what_stands_in_line_as_long_as_somebody_will_send_it(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    assert {index for _, index in ledger.overdue()} == set(range(12))
    assert [looked(ledger, restore_id, index) for index in (4, 6, 11)] == [[], [], []]
    assert looked(ledger, restore_id, 1) == [1]


def test_a_lot_that_nobody_sent_is_found(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    # Another one of the queue stands for a worker of an earlier version, which takes a resource up and sends nothing.
    assert drawn(ledger, restore_id, 1) == [4, 5]
    for index in (4, 5):
        assert looked(ledger, restore_id, index) == [index]
    assert drawn(ledger, restore_id, 4) == [7, 8]


def test_a_lot_is_found_though_an_earlier_version_took_up_its_starter_and_sent_one_of_it(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    ledger = Ledger(client, patience=0.0, share=2)
    restore_id = begin(ledger, LEAVES)
    # What that version does: it draws nothing, and notes that it sent what was overdue.
    progress = keys_of(restore_id)["progress"]
    client.hdel(progress, "1.starts")
    client.hset(progress, "4.sent", time.time())
    for index in (1, 4, 2):
        do(ledger, restore_id, index)
    assert looked(ledger, restore_id, 8) == [5]
    assert drawn(ledger, restore_id, 5) == [7, 8]


def test_a_lot_is_found_though_its_starter_is_held_from_before_a_resume(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, LEAVES)
    claim(ledger, restore_id, 1, "before")
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    ledger.resume(restore_id)
    assert go_on(ledger, restore_id) == [0, 1, 2, 3]
    assert isinstance(claim(ledger, restore_id, 1, "after"), Held)
    assert looked(ledger, restore_id, 5) == [4, 5]
    assert drawn(ledger, restore_id, 4) == [7, 8]


def test_what_stands_in_line_when_a_restore_is_cancelled_is_not_sent_and_resumed_comes_anew(
    ledger: AnyLedger,
) -> None:
    restore_id = begin(ledger, LEAVES)
    do(ledger, restore_id, 1)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert not isinstance(claim(ledger, restore_id, 4), Claimed)
    assert looked(ledger, restore_id, 7) == looked(ledger, restore_id, 4) == []
    ledger.resume(restore_id)
    assert go_on(ledger, restore_id) == [0, 2, 3, 4]
    assert drawn(ledger, restore_id, 2) == [5, 7]
    assert drawn(ledger, restore_id, 5) == [8, 10]
    assert drawn(ledger, restore_id, 8) == [11]
    assert drawn(ledger, restore_id, 0) == [6, 9]
    assert drawn(ledger, restore_id, 4) == drawn(ledger, restore_id, 11) == []


def test_a_restore_in_turns_comes_to_its_end(ledger: AnyLedger) -> None:
    restore_id = record(ledger, (*LEAVES, tuple(range(12))))
    queue, order = go_on(ledger, restore_id), []
    while queue:
        index = queue.pop(0)
        claimed = claim(ledger, restore_id, index, f"t{index}")
        assert isinstance(claimed, Claimed)
        order.append(index)
        settled = ledger.settle(restore_id, index, f"t{index}", ResourceState.DONE)
        queue += [each.index for each in (*claimed.drawn, *settled.released)]
        assert len([each for each in queue if each in OTHERS]) <= 3
        assert len([each for each in queue if each in TRANSFERS]) <= 3
    assert sorted(order) == list(range(13))
    assert order[-1] == 12
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
