"""Any graph is walked once, children first, whatever Celery does: simulated, in this process."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_worker import tasks
from restore_worker.entries import RestoreRecord
from restore_worker.errors import BankUnavailableError, OtherCloudError
from restore_worker.plugin import StillBuilding
from restore_worker.states import ResourceState, RestoreState
from tests.support.walks import SEEDS, TROUBLES, StepPlugin, graphs, walk

pytestmark = pytest.mark.usefixtures("configured")


@settings(max_examples=200)
@given(children=graphs(), seed=SEEDS, trouble=TROUBLES, data=st.data())
def test_any_graph_is_walked_once_children_first_whatever_celery_does(children, seed, trouble, data) -> None:
    broken = data.draw(st.sets(st.integers(0, len(children) - 1), max_size=2))
    one = walk(children, seed, trouble, broken)
    ledger = one.celery.ledger
    with one.celery.in_place():
        one.submit()
        ended = one.run()
        states = one.states()
        assert ledger.get("restore-1").left == 0
        for index, state in enumerate(states):
            children_done = all(states[child] is ResourceState.DONE for child in children[index])
            assert (state is ResourceState.SKIPPED) == (not children_done)
            assert state is not ResourceState.DONE or index not in broken
            assert state is not ResourceState.FAILED or index in broken or trouble
        complete = all(state is ResourceState.DONE for state in states)
        assert ended is (RestoreState.COMPLETE if complete else RestoreState.FAILED)
        one.check()
        # Once nothing is broken any more, the rest is restored too, and only the rest.
        broken.clear()
        one.celery.trouble = 0.0
        if not complete:
            one.resume()
            assert one.run() is RestoreState.COMPLETE
            one.check()
    happened = Counter(each for epoch in one.epochs() for each in epoch)
    assert all(happened["done", index] == 1 for index in range(len(children)))
    hot = ledger.template("restore-1")
    assert hot is not None
    assert hot.resources == len(children)


@settings(max_examples=50)
@given(children=graphs(), seed=SEEDS, trouble=TROUBLES, step=st.integers(1, 400))
def test_a_restore_that_its_user_stops_goes_on_where_it_was(children, seed, trouble, step) -> None:
    one = walk(children, seed, trouble, set())
    one.celery.interrupted_at, one.celery.interrupt = step, one.cancel
    with one.celery.in_place():
        one.submit()
        # Not until no message is left: those meet the next epoch.
        one.run(drain=False)
        while one.state is not RestoreState.COMPLETE:
            one.resume()
            one.run()
            one.celery.trouble /= 2
        one.check()
    happened = Counter(each for epoch in one.epochs() for each in epoch)
    assert all(happened["done", index] == 1 for index in range(len(children)))


@pytest.mark.parametrize("signal", [StillBuilding("volume is creating"), OtherCloudError("volume is creating")])
def test_a_resource_that_only_waits_is_given_up(signal: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    one = walk([[], [0]], 1, 0.0, set())
    restore = StepPlugin.restore

    def wait(*_: object) -> None:
        raise signal

    with one.celery.in_place():
        monkeypatch.setattr(StepPlugin, "restore", wait)
        one.submit()
        for _ in range(2):
            began = one.celery.now
            assert one.run() is RestoreState.FAILED
            # Resuming waits as long again.
            assert 240 * 60 <= one.celery.now - began < 250 * 60
            reason = one.celery.ledger.get("restore-1").reason
            assert reason.endswith("given up after 240 minutes: volume is creating")
            one.resume()
        monkeypatch.setattr(StepPlugin, "restore", restore)
        assert one.run() is RestoreState.COMPLETE


def test_a_transfer_may_take_longer_than_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    one = walk([[]], 1, 0.0, set())
    restore = StepPlugin.restore
    broken_off: list[Exception] = [
        StillBuilding("it is uploaded again", after=0),
        StillBuilding("it is uploaded again", after=0),
        BankUnavailableError("hung up"),
        StillBuilding("it is uploaded again", after=0),
    ]

    def transfer(*given: Any) -> None:
        one.celery.now += 3 * 3600
        if broken_off:
            raise broken_off.pop()
        restore(*given)

    with one.celery.in_place():
        monkeypatch.setattr(StepPlugin, "restore", transfer)
        one.submit()
        assert one.run() is RestoreState.COMPLETE
    assert broken_off == []


def test_a_check_that_outlives_its_epoch_does_not_begin_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one = walk([[], [0]], 1, 0.0, set())
    ledger = one.celery.ledger
    begun: list[int] = []

    def check(_ledger: object, record: RestoreRecord) -> None:
        begun.append(record.epoch)
        if begun == [1]:
            one.cancel()
            one.resume()
            ledger.move("restore-1", RestoreState.PENDING, RestoreState.CHECKING)

    with one.celery.in_place():
        monkeypatch.setattr(tasks, "check", check)
        one.submit()
        one.celery.run(lambda: bool(begun), drain=False)
        # Nobody has looked for the second epoch yet.
        assert (begun, one.state) == ([1], RestoreState.CHECKING)
        assert one.run() is RestoreState.COMPLETE
    assert begun == [1, 2]
    one.check()
