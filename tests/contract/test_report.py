"""What is measured of a restore: the same tests on the twin, whose clock is exact, and on a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from restore_worker.entries import StackLog
from restore_worker.report import ResourceTimes, StackTimes, report
from restore_worker.stack_ledger import StackChange
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import HeatResource, fragment_name
from tests.support.restores import DIAMOND, AnyLedger, Ledgers, claim, go_on, new_restore

CREATING, COMPLETE = RestoreState.CREATING, RestoreState.COMPLETE
DESTROYING, DISCARDING = RestoreState.DESTROYING, RestoreState.DISCARDING
SERVER = HeatResource("OS::Nova::Server", {}, title="web")
NAME = fragment_name("id-3", SERVER)
# Of a worker that keeps what it holds.
NOW = "2026-11-01T10:00:0{}Z"


def step(
    ledgers: Ledgers, ledger: AnyLedger, id_: str, index: int, *, wait: float = 0.0, take: float = 0.1
) -> None:
    """Restore a resource: a worker comes after a while, and takes its time."""
    ledgers.sleep(wait)
    claim(ledger, id_, index, f"token {index}")
    ledgers.sleep(take)
    fragments = {"id-3": SERVER} if index == 3 else {}
    ledger.settle(id_, index, f"token {index}", ResourceState.DONE, "", fragments)


def observe(ledger: AnyLedger, id_: str, seen: tuple[str, str], *changes: tuple[str, str, str]) -> None:
    told = [StackChange(name, status, "as Heat says", time) for name, status, time in changes]
    log = StackLog("stack-1", changes[-1][1], "", seen[1])
    assert ledger.stacks.observe(id_, CREATING, log, told, [], seen_before=seen[0])


def built(ledgers: Ledgers, ledger: AnyLedger, **choices: object) -> str:
    """Take a restore of a diamond to its end; its id."""
    new = new_restore(DIAMOND, **choices)
    ledger.record(new, force=True)
    ledgers.sleep(0.2)
    go_on(ledger, new.id)
    step(ledgers, ledger, new.id, 0, wait=0.1)
    step(ledgers, ledger, new.id, 2)
    step(ledgers, ledger, new.id, 1, take=0.3)
    claim(ledger, new.id, 4, "token 4")
    ledger.note_read(new.id, 4, "somebody's", 17)
    ledger.note_read(new.id, 4, "token 4", 4096)
    ledger.settle(new.id, 4, "token 4", ResourceState.DONE)
    step(ledgers, ledger, new.id, 3, wait=0.2)
    for old, to in ((RestoreState.RESTORING, RestoreState.ASSEMBLING), (RestoreState.ASSEMBLING, CREATING)):
        assert ledger.move(new.id, old, to)
    ledger.stacks.begin(new.id, CREATING, "", keep=True)
    ledger.stacks.asked(new.id, CREATING, "stack-1")
    observe(
        ledger,
        new.id,
        ("", "e1"),
        ("stack", "CREATE_IN_PROGRESS", ""),
        (NAME, "CREATE_IN_PROGRESS", NOW.format(1)),
    )
    ledgers.sleep(0.2)
    observe(
        ledger, new.id, ("e1", "e2"), (NAME, "CREATE_COMPLETE", NOW.format(8)), ("stack", "CREATE_COMPLETE", "")
    )
    assert ledger.move(new.id, CREATING, COMPLETE)
    return new.id


def test_what_a_restore_took(ledgers: Ledgers, request: pytest.FixtureRequest) -> None:
    ledger = ledgers.make()
    measured = report(ledger, built(ledgers, ledger, ttl=60))
    record = ledger.get(measured.id)
    assert (measured.submitted, measured.ttl) == (record.created, 60)
    assert measured.completed is not None
    # A stream has milliseconds.
    assert abs(record.updated - measured.completed) < timedelta(milliseconds=2)
    assert [each.state.value for each in measured.phases] == [
        "pending",
        "checking",
        "restoring",
        "assembling",
        "creating",
    ]
    assert sum(each.seconds or 0 for each in measured.phases) == pytest.approx(measured.seconds, abs=0.1)
    assert measured.critical_path == ("id-0", "id-1", "id-3")
    assert measured.bytes == 4096
    assert [each.bytes for each in measured.resources] == [None, None, None, None, 4096]
    began = datetime(2026, 11, 1, 10, 0, 1, tzinfo=UTC)
    assert measured.stack == (StackTimes(NAME, "OS::Nova::Server", "web", "CREATE_COMPLETE", began, 7.0),)
    if "twin" in request.node.name:
        assert measured.seconds == pytest.approx(1.3)
        phases = {each.state.value: each.seconds for each in measured.phases}
        assert (phases["pending"], phases["restoring"]) == (pytest.approx(0.2), pytest.approx(0.9))
        stalk, one, two, top, alone = measured.resources
        assert stalk == ResourceTimes(
            "Type::0", "id-0", "näme 0", ResourceState.DONE, 1, stalk.began, 0.1, 0.1, None, stalk.worker
        )
        assert stalk.began == measured.phases[2].began + timedelta(seconds=0.1)
        assert (two.waited, two.seconds, one.waited, one.seconds) == (0, 0.1, 0.1, 0.3)
        assert (top.waited, top.seconds, alone.waited) == (0.2, 0.1, 0.6)


def test_it_stays_when_all_is_destroyed(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    restore_id = built(ledgers, ledger)
    before = report(ledger, restore_id)
    ledger.move(restore_id, COMPLETE, DESTROYING)
    ledger.stacks.gone(restore_id, DESTROYING, keep=False)
    ledgers.sleep(0.1)
    ledger.move(restore_id, DESTROYING, DISCARDING)
    ledger.move(restore_id, DISCARDING, RestoreState.DESTROYED)
    after = report(ledger, restore_id)
    assert [each.state for each in after.phases[-2:]] == [DESTROYING, DISCARDING]
    assert after.phases[:-2] == before.phases
    assert (after.seconds, after.resources, after.stack) == (before.seconds, before.resources, before.stack)
    assert after.critical_path == before.critical_path


def test_what_failed_and_was_resumed_counts_with_the_time_in_between(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    new = new_restore(((), (0,)))
    ledger.record(new)
    go_on(ledger, new.id)
    step(ledgers, ledger, new.id, 0)
    claim(ledger, new.id, 1, "mine")
    ledger.settle(new.id, 1, "mine", ResourceState.FAILED, "reason")
    for to in (RestoreState.ASSEMBLING, RestoreState.FAILED):
        ledger.move(new.id, ledger.get(new.id).state, to)
    failed = report(ledger, new.id)
    assert (failed.completed, failed.seconds, failed.critical_path) == (None, None, ("id-0",))
    assert failed.phases[-1].seconds is not None
    ledgers.sleep(1.0)
    assert ledger.resume(new.id)
    go_on(ledger, new.id)
    assert report(ledger, new.id).phases[-1].seconds is None, "it goes on"
    assert report(ledger, new.id).resources[1].seconds is None
    step(ledgers, ledger, new.id, 1)
    for to in (RestoreState.ASSEMBLING, COMPLETE):
        ledger.move(new.id, ledger.get(new.id).state, to)
    measured = report(ledger, new.id)
    assert measured.seconds is not None
    assert measured.seconds >= 1.2
    assert [each.state.value for each in measured.phases].count("failed") == 1
    assert measured.resources[1].seconds is not None
    # From when it was resumed, not from when it could first be done.
    assert measured.resources[1].waited is not None
    assert measured.resources[1].waited < 1.0
    assert measured.critical_path == ("id-0", "id-1")


def test_times_that_an_earlier_version_did_not_note_are_those_of_the_look(ledgers: Ledgers) -> None:
    ledger = ledgers.make()
    new = new_restore(((),))
    ledger.record(new)
    go_on(ledger, new.id)
    claim(ledger, new.id, 0, "mine")
    ledger.settle(new.id, 0, "mine", ResourceState.DONE, "", {"id-3": SERVER})
    for to in (RestoreState.ASSEMBLING, CREATING):
        ledger.move(new.id, ledger.get(new.id).state, to)
    observe(ledger, new.id, ("", "e1"), (NAME, "CREATE_IN_PROGRESS", ""))
    ledgers.sleep(0.2)
    observe(ledger, new.id, ("e1", "e2"), (NAME, "CREATE_FAILED", ""))
    (server,) = report(ledger, new.id).stack
    assert server.status == "CREATE_FAILED"
    assert server.seconds is not None
    assert server.seconds >= 0.2
