"""What a ledger does: the same tests on the twin, which is the specification, and on a real server."""

from __future__ import annotations

import json
from functools import partial

import pytest

from restore_worker.entries import AttemptLimits, Claimed, Held, Idle, Priority, Settled
from restore_worker.errors import StaleLeaseError, UnknownRestoreError
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import HeatParameter, HeatResource
from tests.support.restores import (
    DEAD,
    DIAMOND,
    LONG,
    AnyLedger,
    Ledgers,
    begin,
    claim,
    do,
    go_on,
    indices,
    new_restore,
    node,
    record,
    snapshot,
    states,
    told,
)

A = HeatResource("Type::A", {"name": "a"})
B = HeatParameter("physical-b", "Type::B")


def test_a_recorded_restore_is_as_it_was_submitted(ledger: AnyLedger) -> None:
    new = new_restore(DIAMOND)
    ledger.record(new)
    found = ledger.get(new.id)
    assert (found.checkpoint, found.plan, found.bank) == (new.checkpoint, new.plan, new.bank)
    assert (found.cloud, found.identity, found.wants_stack) == (new.cloud, new.identity, True)
    assert (found.digest, found.description) == (new.digest, new.description)
    assert (found.state, found.reason, found.epoch) == (RestoreState.PENDING, "", 1)
    assert (found.size, found.left, found.failed, found.types) == (5, 5, 0, ("Type::0", "Type::1"))
    assert found.created == found.updated
    resources = ledger.resources(new.id)
    assert [each.node for each in resources] == list(new.nodes)
    assert states(ledger, new.id) == "replplplre"
    times = {(each.until, each.started, each.ended) for each in resources}
    assert times == {(None, None, None)}
    assert {(each.attempts, each.reason, each.worker) for each in resources} == {(0, "", "")}
    assert list(ledger.work(new.id)) == list(zip(resources, new.work, strict=True))
    assert ledger.findings(new.id) == new.findings
    assert ledger.template(new.id) is None
    assert told(ledger, new.id) == [("pending", None, {})]


def test_restores_are_listed_newest_first(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    made = []
    for _ in range(3):
        made.append(record(ledger))
        ledgers.sleep(0.002)
    assert [each.id for each in ledger.restores()] == made[::-1]


def test_a_restore_that_is_not_there(ledger: AnyLedger) -> None:
    with pytest.raises(UnknownRestoreError):
        ledger.get("none")
    assert ledger.begin("none") is None
    assert ledger.claim("none", 0, "t", lease=1, limits=AttemptLimits(1), worker="w") == Idle()
    assert not ledger.renew("none", 0, "t", LONG)
    assert not ledger.wait("none", 0, "t", LONG, "reason", counts=True)
    with pytest.raises(StaleLeaseError):
        ledger.settle("none", 0, "t", ResourceState.DONE)
    with pytest.raises(StaleLeaseError):
        ledger.note_made("none", 0, "t", "key", "physical")
    with pytest.raises(StaleLeaseError):
        ledger.note_gone("none", 0, "t", "key")
    ledger.discarded("none", 0, ["key"])
    assert ledger.identify("none", "cloud") == ""
    assert (list(ledger.work("none")), ledger.all_made("none")) == ([], {})
    assert not ledger.move("none", RestoreState.PENDING, RestoreState.CHECKING)
    assert ledger.resume("none") == 0
    assert ledger.look("none", 0) is None
    assert (ledger.resources("none"), ledger.events("none"), ledger.overdue()) == ([], [], [])
    assert list(ledger.restores()) == []


def test_begin_gives_what_depends_on_nothing_as_long_as_it_is_not_taken_up(ledger: AnyLedger) -> None:
    restore_id = record(ledger)
    assert ledger.begin(restore_id) is None
    assert go_on(ledger, restore_id) == [0, 4]
    assert ledger.begin(restore_id) == [node(0), node(4)]
    claim(ledger, restore_id, 4)
    assert ledger.begin(restore_id) == [node(0)]
    do(ledger, restore_id, 0)
    assert ledger.begin(restore_id) == []
    assert [each[0] for each in told(ledger, restore_id)].count("restoring") == 1
    assert ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert ledger.begin(restore_id) is None


def test_a_claim_brings_all_that_a_task_needs_and_repeated_is_the_same_attempt(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    first = claim(ledger, restore_id, 4, "mine")
    where = ("checkpoint-1", "file:///bank", "target", "project p of http://keystone")
    assert first == Claimed(1, node(4), '{"index": 4}', *where, 1, Priority.NORMAL, drawn=[])
    before = snapshot(ledger, restore_id)
    assert claim(ledger, restore_id, 4, "mine") == first
    assert snapshot(ledger, restore_id) == before
    taken = ledger.resources(restore_id)[4]
    assert (taken.state, taken.attempts, taken.worker) == (ResourceState.RUNNING, 1, "worker of mine")
    assert taken.started is not None


def test_a_resource_in_work_is_held_and_one_that_waits_for_others_is_nobodys(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    held = claim(ledger, restore_id, 0, "other")
    assert isinstance(held, Held)
    assert LONG - 10 < held.seconds <= LONG
    assert claim(ledger, restore_id, 1) == Idle()


def test_a_token_that_lost_its_lease_to_another_writes_nothing(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "old", lease=0.05)
    ledgers.until(lambda: isinstance(claim(ledger, restore_id, 0, "new"), Claimed), "the lease ends")
    before = snapshot(ledger, restore_id)
    assert not ledger.renew(restore_id, 0, "old", LONG)
    assert not ledger.wait(restore_id, 0, "old", 1.0, "reason", counts=True)
    for call in (
        partial(ledger.note_made, restore_id, 0, "old", "key", "physical"),
        partial(ledger.note_made, restore_id, 0, "old", "key", ""),
        partial(ledger.note_moved, restore_id, 0, "old", 17),
        partial(ledger.note_gone, restore_id, 0, "old", "key"),
        partial(ledger.settle, restore_id, 0, "old", ResourceState.DONE, fragments={"a": A}),
        partial(ledger.settle, restore_id, 0, "old", ResourceState.FAILED, "reason"),
    ):
        with pytest.raises(StaleLeaseError):
            call()
    assert snapshot(ledger, restore_id) == before
    assert ledger.made(restore_id, 0, "key") is None
    assert indices(ledger.settle(restore_id, 0, "new", ResourceState.DONE)) == [1, 2]


def test_a_lease_is_renewed_and_one_that_ended_is_still_good_if_nobody_else_came(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine", lease=DEAD)
    assert ledger.renew(restore_id, 0, "mine", LONG)
    assert isinstance(claim(ledger, restore_id, 0, "other"), Held)
    assert ledger.renew(restore_id, 0, "mine", DEAD)
    assert indices(ledger.settle(restore_id, 0, "mine", ResourceState.DONE)) == [1, 2]


def test_a_parent_is_released_by_the_last_of_its_children(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    assert do(ledger, restore_id, 4) == []
    assert do(ledger, restore_id, 0, fragments={"a": A, "b": B}) == [1, 2]
    assert do(ledger, restore_id, 2) == []
    assert states(ledger, restore_id) == "doredopldo"
    assert do(ledger, restore_id, 1) == [3]
    assert ledger.get(restore_id).left == 1
    assert do(ledger, restore_id, 3) == []
    assert (ledger.get(restore_id).left, ledger.get(restore_id).failed) == (0, 0)
    assert ledger.fragments(restore_id) == {"a": A, "b": B}
    assert ledger.fragment(restore_id, "b") == B
    assert ledger.fragment(restore_id, "c") is None
    assert all(each.ended for each in ledger.resources(restore_id))


def test_settled_again_a_resource_only_tells_which_parents_are_still_to_be_taken_up(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    do(ledger, restore_id, 0, fragments={"a": A})
    before = snapshot(ledger, restore_id)
    assert indices(ledger.settle(restore_id, 0, "token of 0", ResourceState.DONE, fragments={"a": A})) == [1, 2]
    assert indices(ledger.settle(restore_id, 0, "other", ResourceState.FAILED, "too late")) == [1, 2]
    assert indices(claim(ledger, restore_id, 0, "late copy")) == [1, 2]
    assert snapshot(ledger, restore_id) == before
    claim(ledger, restore_id, 1)
    assert indices(claim(ledger, restore_id, 0, "late copy")) == [2]
    do(ledger, restore_id, 2)
    assert indices(ledger.settle(restore_id, 0, "token of 0", ResourceState.DONE)) == []


def test_two_resources_with_a_fragment_of_one_original_id(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    do(ledger, restore_id, 0, fragments={"a": A})
    assert do(ledger, restore_id, 4, fragments={"b": B, "a": A, "c": A}) == []
    failed = ledger.resources(restore_id)[4]
    assert failed.state is ResourceState.FAILED
    assert failed.reason == "a was put into the template already, by Type::0 näme 0 (id-0)"
    assert ledger.fragments(restore_id) == {"a": A}
    assert ledger.get(restore_id).failed == 1


def test_a_resource_may_have_thousands_of_fragments(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    many = {f"port-{index}": HeatResource("OS::Neutron::Port", {"name": str(index)}) for index in range(5000)}
    do(ledger, restore_id, 0, fragments=many)
    assert ledger.fragments(restore_id) == many


def test_what_needs_a_failed_resource_is_skipped_with_the_root_cause_and_the_rest_goes_on(
    ledger: AnyLedger,
) -> None:
    restore_id = begin(ledger, ((), (0,), (1,), (), (3,), (2, 4)))
    assert do(ledger, restore_id, 0, ResourceState.FAILED, reason="no such image") == [1]
    assert indices(claim(ledger, restore_id, 1)) == [2]
    assert indices(claim(ledger, restore_id, 2)) == []
    assert do(ledger, restore_id, 3) == [4]
    assert do(ledger, restore_id, 4) == [5]
    assert indices(claim(ledger, restore_id, 5)) == []
    assert states(ledger, restore_id) == "faskskdodosk"
    reasons = [each.reason for each in ledger.resources(restore_id)]
    because = "needs Type::0 näme 0 (id-0), which was not restored"
    assert reasons == ["no such image", because, because, "", "", because]
    assert (ledger.get(restore_id).left, ledger.get(restore_id).failed) == (0, 4)
    assert ("skipped", 5, {"reason": because}) in told(ledger, restore_id)


def test_the_first_failure_is_the_cause_that_is_told(ledger: AnyLedger) -> None:
    restore_id = begin(ledger, ((), (), (0, 1)))
    do(ledger, restore_id, 1, ResourceState.FAILED, reason="first")
    do(ledger, restore_id, 0, ResourceState.FAILED, reason="second")
    claim(ledger, restore_id, 2)
    assert ledger.resources(restore_id)[2].reason == "needs Type::1 näme 1 (id-1), which was not restored"


def test_a_resource_whose_workers_vanish_is_given_up(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    for attempt in (1, 2, 3):
        taken = claim(ledger, restore_id, 0, f"worker {attempt}", lease=DEAD)
        assert isinstance(taken, Claimed)
        assert taken.attempts == attempt
    assert indices(claim(ledger, restore_id, 0, "worker 4")) == [1, 2]
    given_up = ledger.resources(restore_id)[0]
    assert (given_up.state, given_up.attempts) == (ResourceState.FAILED, 3)
    assert given_up.reason == "given up after 3 attempts: the worker that held it vanished each time"


def test_a_fault_that_does_not_pass_is_given_up_with_its_reason(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    for token in ("1", "2", "3"):
        assert isinstance(claim(ledger, restore_id, 0, token), Claimed)
        assert ledger.wait(restore_id, 0, token, DEAD, "503 from Cinder", counts=True)
    assert isinstance(claim(ledger, restore_id, 0, "4"), Settled)
    assert ledger.resources(restore_id)[0].reason == "given up after 3 attempts: 503 from Cinder"


def test_waiting_for_something_under_way_is_no_attempt(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    for turn in range(10):
        taken = claim(ledger, restore_id, 0, str(turn))
        assert isinstance(taken, Claimed)
        assert taken.attempts == 1
        assert ledger.wait(restore_id, 0, str(turn), DEAD, "backup is being restored", counts=False)
        waiting = ledger.resources(restore_id)[0]
        assert (waiting.state, waiting.reason) == (ResourceState.WAITING, "backup is being restored")
    assert do(ledger, restore_id, 0) == [1, 2]
    assert ledger.resources(restore_id)[0].reason == ""


def test_how_long_a_resource_has_only_waited_is_known(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    restore_id = begin(ledger)

    def waited(token: str, lease: float = LONG) -> float:
        taken = claim(ledger, restore_id, 0, token, lease=lease)
        assert isinstance(taken, Claimed)
        return taken.waited

    def wait(token: str, *, still: bool = True) -> None:
        assert ledger.wait(restore_id, 0, token, DEAD, "it is creating", counts=False, still=still)
        ledgers.sleep(0.05)

    assert waited("1") == 0
    wait("1")
    assert waited("2") > 0.04
    wait("2")
    assert waited("3") > 0.08
    # One that was broken off was at work.
    wait("3", still=False)
    assert waited("4") == 0
    wait("4")
    # So was one that died: nobody knows for how long.
    assert waited("dies", lease=DEAD) > 0.04
    assert waited("5") == 0
    wait("5")
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert ledger.resume(restore_id) == 2
    go_on(ledger, restore_id)
    assert waited("6") == 0


def test_what_waits_is_let_go_and_taken_up_again_when_it_is_due(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "mine")
    assert ledger.wait(restore_id, 0, "mine", 2.0, "soon", counts=False)
    before = snapshot(ledger, restore_id)
    assert not ledger.wait(restore_id, 0, "mine", LONG, "again", counts=False)
    assert not ledger.renew(restore_id, 0, "mine", LONG)
    with pytest.raises(StaleLeaseError):
        ledger.settle(restore_id, 0, "mine", ResourceState.DONE)
    assert snapshot(ledger, restore_id) == before
    held = claim(ledger, restore_id, 0, "next")
    assert isinstance(held, Held)
    assert 0 < held.seconds <= 2.001
    ledgers.until(lambda: isinstance(claim(ledger, restore_id, 0, "next"), Claimed), "it is due")


def test_findings_are_added_once(ledger: AnyLedger) -> None:
    restore_id = record(ledger)
    more = [("Type::0", "", "", "field", "reason"), ("Type::1", "id-1", "", "zone", "näx")]
    for _ in range(2):
        ledger.add_findings(restore_id, [*more, *more])
    assert json.loads(ledger.findings(restore_id)) == [list(each) for each in more]


def test_the_end_of_leases_and_waits_is_known(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)

    def seconds() -> float | None:
        until = ledger.resources(restore_id)[0].until
        return until and (until - ledger.get(restore_id).created).total_seconds()

    assert seconds() is None
    claim(ledger, restore_id, 0, "mine", lease=LONG)
    assert LONG - 10 < (seconds() or 0) < LONG + 10
    ledger.wait(restore_id, 0, "mine", DEAD, "reason", counts=False)
    assert (seconds() or 0) < 0
    do(ledger, restore_id, 0)
    assert seconds() is None


def test_events_are_read_on_from_the_last_one_seen(ledger: AnyLedger) -> None:
    restore_id = begin(ledger)
    seen = ledger.events(restore_id)
    assert [each.name for each in seen] == ["pending", "checking", "restoring"]
    assert ledger.events(restore_id, seen[-1].id) == []
    claim(ledger, restore_id, 0, "mine")
    (new,) = ledger.events(restore_id, seen[-1].id)
    assert (new.name, new.index) == ("running", 0)
    assert new.details == {"attempt": "1", "worker": "worker of mine"}
    assert abs(new.time - ledger.get(restore_id).created).total_seconds() < 60
