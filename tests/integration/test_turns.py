"""Many restores at once share the workers, and what is done costs nothing any more: real Redis, real workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from restore_worker import restore
from restore_worker.entries import Event
from restore_worker.errors import RestoreError
from restore_worker.ledger import SHARE
from restore_worker.states import RestoreState
from restore_worker.submitted import caller_ledger
from tests.support import processes
from tests.support.processes import run_cli, wait_until
from tests.support.steps import Steps

BIG, SMALL, MANY = 400, 8, 200
THREADS = 4
# What a resource of the big restore takes: with these threads, all of them take some ten seconds.
SECONDS = 0.1
# What of one restore may be in a queue, be with the worker, and be at work.
AHEAD = SHARE + 2 * THREADS
# A big restore: all need nothing, or twenty do, each of which lets go nineteen others.
GRAPHS = {
    "at-once": ((),) * BIG,
    "many-fan-outs": (*((),) * 20, *((child,) for child in range(20) for _ in range(19))),
}


@pytest.fixture
def one_worker(shared_worker: Callable[..., processes.Program]) -> Iterator[None]:
    """Have one worker."""
    program = shared_worker(concurrency=THREADS)
    yield
    program.kill()


@pytest.fixture
def submit(shared_redis: str, steps: Steps, tmp_path: Path) -> Callable[..., restore.Restore]:
    """Give what submits resources, by default such that need nothing; each works as long if nobody needs it."""

    def run(
        size: int, seconds: float = 0.0, priority: str = "normal", graph: Sequence[Sequence[int]] = ()
    ) -> restore.Restore:
        graph = graph or ((),) * size
        needed = {child for children in graph for child in children}
        times = {index: 0.0 if index in needed else seconds for index in range(size)}
        told = {index: {"seconds": its, "obstacle": str(tmp_path)} for index, its in times.items()}
        return restore.submit("latest", bank=steps.write(graph, told), priority=priority)

    return run


def happened(submitted: restore.Restore, name: str) -> list[Event]:
    return [each for each in caller_ledger().events(submitted.id) if each.name == name]


def under_way(big: restore.Restore, done: int = 1) -> None:
    wait_until(lambda: len(happened(big, "done")) >= done, "the big restore is under way")


def between(submitted: restore.Restore, name: str, begun: Event, ended: Event) -> int:
    """Return how often that happened in a restore in between."""
    return len([each for each in happened(submitted, name) if begun.time <= each.time <= ended.time])


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS.keys())
def test_a_small_restore_does_not_wait_for_all_of_a_big_one(submit, graph):
    big = submit(BIG, SECONDS, graph=graph)
    # Those that others need are done at once.
    under_way(big, 21)
    small = submit(SMALL)
    assert small.wait(60).state is RestoreState.COMPLETE
    (submitted,), (begun,), (complete,) = (happened(small, name) for name in ("pending", "restoring", "complete"))
    assert between(big, "running", begun, happened(small, "running")[0]) <= AHEAD
    # So for all of it, from when it was submitted.
    assert between(big, "done", submitted, complete) <= AHEAD
    assert big.wait(60).state is RestoreState.COMPLETE


@pytest.mark.usefixtures("one_worker")
def test_one_of_high_priority_goes_first_and_one_of_low_waits(submit):
    big = submit(BIG, SECONDS)
    under_way(big)
    low, high = submit(SMALL, priority="low"), submit(SMALL, priority="high")
    assert high.wait(60).state is low.wait(60).state is big.wait(60).state is RestoreState.COMPLETE
    begun, last = happened(high, "restoring")[0], happened(high, "running")[-1]
    # What the worker has taken already goes first, and each of its threads takes one more.
    assert between(big, "running", begun, last) <= 2 * THREADS
    first = happened(low, "running")[0].time
    assert len([each for each in happened(big, "running") if each.time > first]) <= THREADS


def test_two_hundred_small_ones_and_a_big_one(submit, shared_redis, shared_worker):
    big = submit(BIG, SECONDS)
    many = [submit(SMALL // 4) for _ in range(MANY)]
    shared_worker(concurrency=THREADS)
    assert {each.wait(120).state for each in many} == {RestoreState.COMPLETE}
    last = max((happened(each, "complete")[0] for each in many), key=lambda event: event.time)
    assert between(big, "done", happened(big, "pending")[0], last) <= BIG / 2
    assert big.wait(60).state is RestoreState.COMPLETE


def test_a_priority_is_kept_and_shown(shared_redis, steps):
    bank = str(steps.write(((),)))
    done = run_cli("submit", "latest", "--bank", bank, "--no-stack", "--priority", "low")
    assert done.returncode == 0, done.stderr
    shown = run_cli("show", done.stdout.strip(), "-f", "value", "-c", "priority")
    assert shown.stdout == "low\n"


def test_what_is_no_priority_is_refused_and_nothing_is_written(shared_redis, steps):
    bank, before = steps.write(((),)), restore.list_restores()
    with pytest.raises(RestoreError, match="'urgent' is no priority: take one of high, normal, low"):
        restore.submit("latest", bank=bank, priority="urgent")
    done = run_cli("submit", "latest", "--bank", str(bank), "--priority", "urgent")
    assert done.returncode == 2
    assert "invalid choice: 'urgent'" in done.stderr
    assert restore.list_restores() == before
