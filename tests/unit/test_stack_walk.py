"""Stacks are made once, mended, stopped, destroyed and let go, whatever Celery and Heat do: simulated, in this process."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_worker.cut import Limits
from restore_worker.entries import stack_name
from restore_worker.states import RestoreState, may_follow
from tests.support.walks import SEEDS, TROUBLES, Walk, graphs, walk

pytestmark = pytest.mark.usefixtures("configured")

GRAPHS = graphs(most=20)
STEPS = st.integers(1, 150)
# So small that most graphs come to several stacks.
SMALL = Limits(3, 10**6)
LIMITS = st.sampled_from([None, SMALL])
FAILING = st.sets(st.sampled_from(["CREATE", "UPDATE", "DELETE"]))


def volumes_of(one: Walk) -> dict[str, str]:
    return {f"id-{index}": f"volume of id-{index}" for index in range(1, len(one.children), 2)}


def mend(one: Walk) -> None:
    """Let fewer things go wrong, until nothing does."""
    one.celery.heat.failing.clear()
    one.celery.trouble = one.celery.trouble / 4 if one.celery.trouble > 0.01 else 0.0


def complete(one: Walk) -> None:
    """Run a restore that was submitted, and resume it until it is complete."""
    ended = one.run()
    for _ in range(5):
        if ended is RestoreState.COMPLETE:
            break
        assert ended is RestoreState.CANCELLED or one.celery.ledger.get("restore-1").reason
        mend(one)
        one.resume()
        ended = one.run()
    assert ended is RestoreState.COMPLETE


@settings(max_examples=400)
@given(children=GRAPHS, seed=SEEDS, trouble=TROUBLES, failing=FAILING)
def test_a_stack_is_made_once_and_gone_on_with(children, seed, trouble, failing) -> None:
    one = walk(children, seed, trouble, set(), "target")
    heat = one.celery.heat
    heat.failing |= failing
    with one.celery.in_place():
        one.submit()
        complete(one)
        one.check()
        (stack,) = heat.live
        assert stack.status == "COMPLETE"
        assert heat.servers == {stack.server}
    assert heat.asked["CREATE"] == 1
    assert one.celery.volumes == volumes_of(one)
    log = one.celery.ledger.stacks.get("restore-1")
    assert (log.id, log.status) == (stack.id, stack.seen().status)
    assert log.outputs == {"server": f'"{stack.server}"'}
    # What Heat told was noted once, and all of it.
    told = [dict(each.details) for each in one.celery.ledger.events("restore-1") if each.name == "stack"]
    assert told == [{"name": each.resource, "status": each.status, "reason": each.reason} for each in stack.events]


def test_each_resumption_of_a_failed_stack_is_one_update() -> None:
    one = walk([[], [0]], 1, 0.0, set(), "target")
    heat = one.celery.heat
    with one.celery.in_place():
        heat.failing |= {"CREATE", "UPDATE"}
        one.submit()
        for updates in (0, 1, 2):
            assert one.run() is RestoreState.FAILED
            assert heat.asked == Counter(CREATE=1, UPDATE=updates)
            assert "as Heat says" in one.celery.ledger.get("restore-1").reason
            one.resume()
        heat.failing.clear()
        assert one.run() is RestoreState.COMPLETE
    assert heat.asked == Counter(CREATE=1, UPDATE=3)
    assert len(heat.servers) == 1


def test_what_was_not_handed_over_yet_is_waited_for() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    with one.celery.in_place():
        one.submit()
        one.celery.run(lambda: one.state is RestoreState.CREATING, drain=False)
        one.celery.lose_messages()
        assert one.run() is RestoreState.COMPLETE
    assert one.celery.heat.asked == Counter(CREATE=1)
    assert "resent" in {each.name for each in one.celery.ledger.events("restore-1")}


@given(seed=SEEDS, away=st.integers(60, 3600))
def test_heat_gets_the_stack_within_a_lease_once_it_is_back(seed: int, away: int) -> None:
    one = walk([[]], seed, 0.0, set(), "target")
    heat = one.celery.heat
    with one.celery.in_place():
        one.submit()
        one.celery.run(lambda: one.state is RestoreState.CREATING, drain=False)
        heat.back = one.celery.now + away
        one.celery.run(lambda: heat.asked["CREATE"] > 0, drain=False)
        # The lease is 30 s, and a message takes a moment.
        assert one.celery.now - heat.back <= 35
        assert one.run() is RestoreState.COMPLETE
    assert heat.asked == Counter(CREATE=1)
    # It is not beaten meanwhile: the poller asks every 5 s, the restore itself every 15 to 30 s in the long run.
    assert len([at for at in heat.calls if at < heat.back]) < 10 + away / 5 + away / 15


def test_what_was_given_up_is_stopped_at_heat_and_its_end_is_noted() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat, stacks = one.celery.heat, one.celery.ledger.stacks
    with one.celery.in_place():
        one.submit()
        one.celery.run(lambda: heat.asked["CREATE"] > 0, drain=False)
        (stack,) = heat.live
        stack.ends = float("inf")
        one.celery.now += 86400.0
        assert one.run() is RestoreState.FAILED
        one.celery.run(lambda: not stacks.followed(), drain=False)
        assert stacks.get("restore-1").status == stack.seen().status == "CREATE_FAILED"
        assert [each.status for each in stacks.built("restore-1")] == ["CREATE_FAILED"]
        one.resume()
        assert one.run() is RestoreState.COMPLETE
    assert heat.asked == Counter(CREATE=1, UPDATE=1)


@pytest.mark.parametrize(
    ("asked", "action", "given_up", "end", "verb"),
    [
        (RestoreState.DESTROYING, "DELETE", RestoreState.FAILED, RestoreState.DESTROYED, "destroy"),
        (RestoreState.FORGETTING, "UPDATE", RestoreState.COMPLETE, RestoreState.FORGOTTEN, "forget"),
        (RestoreState.FORGETTING, "DELETE", RestoreState.COMPLETE, RestoreState.FORGOTTEN, "forget"),
    ],
)
def test_a_stack_that_hangs_while_it_goes_is_given_up_each_time(asked, action, given_up, end, verb) -> None:
    one = walk([[], [0]], 1, 0.0, set(), "target")
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        one.submit()
        complete(one)
        heat.hanging.add(action)
        for _ in range(2):
            began = one.celery.now
            assert one.ask(asked) is given_up
            assert 245 * 60 < one.celery.now - began < 250 * 60
            reason = ledger.get("restore-1").reason
            assert "after 4:05:00: " in reason
            assert f"{verb} again" in reason
            assert [each.action for each in heat.live] == [action]
        heat.hanging.clear()
        assert one.ask(asked) is end
    assert heat.live == []


def test_one_resumed_while_heat_still_works_begins_when_that_has_come_to_rest() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    with one.celery.in_place():
        one.celery.heat.failing.add("CREATE")
        one.submit()
        one.celery.run(lambda: one.celery.heat.asked["CREATE"] > 0, drain=False)
        one.cancel()
        one.resume()
        # The creation fails, but that was before.
        assert one.run() is RestoreState.COMPLETE
    assert one.celery.heat.asked == Counter(CREATE=1, UPDATE=1)


@settings(max_examples=400)
@given(children=GRAPHS, seed=SEEDS, trouble=TROUBLES, failing=FAILING, step=STEPS)
def test_what_was_cancelled_in_any_state_goes_on(children, seed, trouble, failing, step) -> None:
    one = walk(children, seed, trouble, set(), "target")
    one.celery.interrupted_at, one.celery.interrupt = step, one.cancel
    one.celery.heat.failing |= failing
    with one.celery.in_place():
        one.submit()
        # Not until no message is left: those meet the next epoch.
        one.run(drain=False)
        complete(one)
        one.check()
        assert [each.status for each in one.celery.heat.live] == ["COMPLETE"]
    assert one.celery.heat.asked["CREATE"] == 1
    assert one.celery.volumes == volumes_of(one)


@settings(max_examples=550)
@given(
    children=GRAPHS,
    seed=SEEDS,
    trouble=TROUBLES,
    failing=FAILING,
    step=STEPS,
    at_once=st.booleans(),
    limits=LIMITS,
)
def test_what_was_destroyed_leaves_nothing(children, seed, trouble, failing, step, at_once, limits) -> None:
    one = walk(children, seed, trouble, set(), "target", limits)

    def stop() -> None:
        one.cancel()
        if at_once and may_follow(one.state, RestoreState.DESTROYING):
            one.celery.ledger.move("restore-1", one.state, RestoreState.DESTROYING)

    one.celery.interrupted_at, one.celery.interrupt = step, stop
    one.celery.heat.failing |= failing
    with one.celery.in_place():
        one.submit()
        ended = one.run()
        while ended is not RestoreState.DESTROYED:
            ended = one.ask(RestoreState.DESTROYING)
            mend(one)
        # What a late copy of a task had Heat delete comes to its end.
        one.celery.now += 600.0
        assert one.celery.heat.live == []
    assert one.celery.heat.servers == set()
    assert one.celery.volumes == {}
    assert one.celery.ledger.stacks.built("restore-1") == []


@settings(max_examples=400)
@given(children=GRAPHS, seed=SEEDS, trouble=TROUBLES, failing=FAILING, limits=LIMITS)
def test_what_was_let_go_stays_but_for_its_stacks(children, seed, trouble, failing, limits) -> None:
    one = walk(children, seed, trouble, set(), "target", limits)
    heat = one.celery.heat
    with one.celery.in_place():
        one.submit()
        complete(one)
        servers, ended = set(heat.servers), RestoreState.COMPLETE
        heat.failing |= failing
        while ended is not RestoreState.FORGOTTEN:
            ended = one.ask(RestoreState.FORGETTING)
            assert ended is RestoreState.FORGOTTEN or one.celery.ledger.get("restore-1").reason
            mend(one)
        assert heat.live == []
    assert heat.servers == servers
    assert one.celery.volumes == volumes_of(one)
    assert {each.physical_id for each in one.celery.ledger.stacks.built("restore-1")} == servers


def test_one_that_was_all_but_forgotten_can_be_resumed_and_destroyed() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat = one.celery.heat
    with one.celery.in_place():
        one.submit()
        complete(one)
        # Heat marked everything to stay, and was away for too long then.
        heat.retain(heat.live[0].id)
        one.celery.now += 1000.0
        assert one.ask(RestoreState.DESTROYING) is RestoreState.FAILED
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        assert one.ask(RestoreState.DESTROYING) is RestoreState.DESTROYED
    assert heat.servers == set()


def test_a_stack_that_leaves_all_where_it_is_is_not_taken_for_one_that_can_be_destroyed() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat = one.celery.heat
    with one.celery.in_place():
        one.submit()
        complete(one)
        heat.failing.add("UPDATE")
        assert one.ask(RestoreState.FORGETTING) is RestoreState.COMPLETE
        assert one.ask(RestoreState.DESTROYING) is RestoreState.FAILED
        assert "destroy it" in one.celery.ledger.get("restore-1").reason
        assert len(heat.live) == 1
        heat.failing.clear()
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        assert one.ask(RestoreState.DESTROYING) is RestoreState.DESTROYED
    assert heat.servers == set()


def test_one_that_was_let_go_but_could_not_be_deleted_has_a_way_out() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        one.submit()
        complete(one)
        servers = set(heat.servers)
        heat.failing.add("DELETE")
        for _ in range(2):
            assert one.ask(RestoreState.FORGETTING) is RestoreState.COMPLETE
        # It takes no updates any more, and would leave all where it is: nothing can be deleted through it.
        assert one.ask(RestoreState.DESTROYING) is RestoreState.COMPLETE
        assert "nothing was deleted; forget the restore" in ledger.get("restore-1").reason
        heat.failing.clear()
        assert one.ask(RestoreState.FORGETTING) is RestoreState.FORGOTTEN
        assert heat.live == []
    assert heat.servers == servers


def test_one_that_an_earlier_version_left_failed_with_such_a_stack_has_it_too() -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        one.submit()
        complete(one)
        servers = set(heat.servers)
        heat.failing.add("DELETE")
        assert one.ask(RestoreState.FORGETTING) is RestoreState.COMPLETE
        ledger.move("restore-1", RestoreState.COMPLETE, RestoreState.DESTROYING)
        ledger.move(
            "restore-1", RestoreState.DESTROYING, RestoreState.FAILED, "resume the restore, then destroy it"
        )
        one.resume()
        assert one.run() is RestoreState.FAILED
        assert "destroy the restore" in ledger.get("restore-1").reason
        assert one.ask(RestoreState.DESTROYING) is RestoreState.COMPLETE
        heat.failing.clear()
        assert one.ask(RestoreState.FORGETTING) is RestoreState.FORGOTTEN
    assert heat.servers == servers


def test_one_that_is_cancelled_while_heat_is_asked_to_create_is_stopped_there_and_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat, create = one.celery.heat, one.celery.heat.create

    def cancelled_meanwhile(*asked: object, **more: object) -> object:
        one.cancel()
        return create(*asked, **more)  # type: ignore[arg-type]  # as it came

    with one.celery.in_place():
        monkeypatch.setattr(heat, "create", cancelled_meanwhile)
        one.submit()
        assert one.run() is RestoreState.CANCELLED
        assert [each.seen().status for each in heat.live] == ["CREATE_FAILED"]
        monkeypatch.setattr(heat, "create", create)
        one.resume()
        assert one.run() is RestoreState.COMPLETE
    assert heat.asked == Counter(CREATE=1, UPDATE=1)
    assert len(heat.live) == 1


def test_a_creation_that_redis_forgot_is_not_stopped_but_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    heat, asked = one.celery.heat, one.celery.ledger.stacks.asked
    answers = [False]

    def forgotten_once(*noted: Any, **more: Any) -> bool:
        return answers.pop() if answers else asked(*noted, **more)

    with one.celery.in_place():
        monkeypatch.setattr(one.celery.ledger.stacks, "asked", forgotten_once)
        one.submit()
        assert one.run() is RestoreState.COMPLETE
    assert heat.asked == Counter(CREATE=1)
    assert len(heat.live) == 1


def test_one_that_is_destroyed_while_heat_is_asked_to_create_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = walk([[], [0]], 1, 0.0, set(), "target")
    heat, create = one.celery.heat, one.celery.heat.create

    def destroyed_meanwhile(*asked: object, **more: object) -> object:
        one.cancel()
        one.celery.ledger.move("restore-1", RestoreState.CANCELLED, RestoreState.DESTROYING)
        return create(*asked, **more)  # type: ignore[arg-type]  # as it came

    with one.celery.in_place():
        monkeypatch.setattr(heat, "create", destroyed_meanwhile)
        one.submit()
        assert one.run() is RestoreState.DESTROYED
        assert heat.live == []
    assert (heat.servers, one.celery.volumes) == (set(), {})


# Several stacks


def check_cut(one: Walk) -> None:
    heat, ledger = one.celery.heat, one.celery.ledger
    stacks = {stack_name("restore-1", number): number for number in ledger.get("restore-1").stacks}
    assert {each.name for each in heat.live} == set(stacks)
    assert {each.status for each in heat.live} == {"COMPLETE"}
    assert heat.servers == {each.server for each in heat.live}
    assert heat.asked["CREATE"] == len(stacks)
    for each in heat.live:
        log = ledger.stacks.get("restore-1", stacks[each.name])
        assert (log.id, log.status) == (each.id, each.seen().status)
        built = ledger.stacks.built("restore-1", stacks[each.name])
        assert [part.physical_id for part in built] == [each.server]


@settings(max_examples=200)
@given(children=GRAPHS, seed=SEEDS, trouble=TROUBLES, failing=FAILING, step=STEPS, cancelled=st.booleans())
def test_each_of_several_stacks_is_made_once_and_gone_on_with(
    children, seed, trouble, failing, step, cancelled
) -> None:
    one = walk(children, seed, trouble, set(), "target", SMALL)
    if cancelled:
        one.celery.interrupted_at, one.celery.interrupt = step, one.cancel
    one.celery.heat.failing |= failing
    with one.celery.in_place():
        one.submit()
        one.run(drain=False)
        complete(one)
        one.check()
        check_cut(one)
    assert one.celery.volumes == volumes_of(one)


# One that all others need, and six for Heat that need nothing of each other.
SHARED = [[], *([[0]] * 12)]


def test_what_needs_nothing_of_a_stack_that_failed_is_built_all_the_same() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target", SMALL)
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        heat.failing_names.add("restore-restore-1-2")
        one.submit()
        assert one.run() is RestoreState.FAILED
        assert ledger.get("restore-1").cut == ((), (1,), (1,))
        assert {each.name: each.status for each in heat.live} == {
            "restore-restore-1-1": "COMPLETE",
            "restore-restore-1-2": "FAILED",
            "restore-restore-1-3": "COMPLETE",
        }
        assert "as Heat says" in ledger.get("restore-1").reason
        heat.failing_names.clear()
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        check_cut(one)
    assert heat.asked == Counter(CREATE=3, UPDATE=1)


def test_what_waits_for_a_stack_that_failed_is_not_begun() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target", SMALL)
    heat = one.celery.heat
    with one.celery.in_place():
        heat.failing_names.add("restore-restore-1-1")
        one.submit()
        assert one.run() is RestoreState.FAILED
        assert [each.name for each in heat.live] == ["restore-restore-1-1"]
        heat.failing_names.clear()
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        check_cut(one)


def test_a_stack_that_took_over_what_is_there_no_more_is_updated() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target", SMALL)
    heat = one.celery.heat
    with one.celery.in_place():
        heat.failing_names.add("restore-restore-1-3")
        one.submit()
        assert one.run() is RestoreState.FAILED
        (first,) = (each for each in heat.live if each.name == "restore-restore-1-1")
        heat.vanish(first)
        heat.failing_names.clear()
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        (made,) = (each for each in heat.live if each.name == "restore-restore-1-1")
        # The second was complete, but of ids that are no more.
        for each in heat.live:
            assert all(value.endswith(f" of {made.id}") for value in each.hot.values.values() if "stack-" in value)
    assert heat.asked == Counter(CREATE=4, UPDATE=2)


def test_waiting_for_another_stack_is_not_being_stuck() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target", SMALL)
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        heat.hanging.add("CREATE")
        one.submit()
        one.celery.run(lambda: heat.asked["CREATE"] > 0, drain=False)
        began = one.celery.now
        one.celery.run(lambda: one.celery.now > began + 3600, drain=False)
        heat.hanging.clear()
        assert one.run() is RestoreState.COMPLETE
    assert "resent" not in {each.name for each in ledger.events("restore-1")}
    assert "stuck" not in {each.event for each in ledger.news()}


def test_a_message_for_the_next_stacks_that_is_lost_is_sent_again() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target", SMALL)
    with one.celery.in_place():
        one.submit()
        one.celery.run(lambda: one.celery.ledger.stacks.get("restore-1", 1).outputs != {}, drain=False)
        one.celery.lose_messages()
        assert one.run() is RestoreState.COMPLETE
        check_cut(one)


def test_what_no_stack_was_made_of_yet_is_cut_as_the_limits_are_now() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target")
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        one.submit()
        one.celery.run(lambda: one.state is RestoreState.CREATING, drain=False)
        one.celery.lose_messages()
        one.cancel()
        assert one.run() is RestoreState.CANCELLED
        assert ledger.get("restore-1").cut == ()
        ledger.limit("restore-1", SMALL)
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        assert ledger.get("restore-1").cut == ((), (1,), (1,))
        check_cut(one)
        one.celery.now += 1000.0
    assert len(heat.live) == 3


def test_an_old_cut_stays_when_the_limits_are_others() -> None:
    one = walk(SHARED, 1, 0.0, set(), "target", SMALL)
    heat, ledger = one.celery.heat, one.celery.ledger
    with one.celery.in_place():
        heat.failing_names.add("restore-restore-1-2")
        one.submit()
        assert one.run() is RestoreState.FAILED
        before = ledger.templates("restore-1")
        ledger.limit("restore-1", None)
        heat.failing_names.clear()
        one.resume()
        assert one.run() is RestoreState.COMPLETE
        assert ledger.templates("restore-1") == before
        check_cut(one)
