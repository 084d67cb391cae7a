"""Any graph is walked once, children first, whatever Celery does: simulated, in this process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from restore_worker.errors import BankError, BankUnavailableError
from restore_worker.plugin import Context, Produces, RestorePlugin, StillBuilding
from restore_worker.resource import Resource
from restore_worker.states import FINAL_RESTORE_STATES, ResourceState, RestoreState
from restore_worker.template import HeatResource, HeatTemplate
from tests.support.restores import new_restore
from tests.support.simulation import SimulatedCelery

SETTLED = {"done", "failed", "skipped"}


@pytest.fixture(scope="module", autouse=True)
def _configured(redis_server: str) -> Iterator[None]:
    """Celery reads its configuration once in a process; nothing here connects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_REDIS_URL", redis_server)
        yield


class Step(BaseModel):
    index: int
    children: list[int]


@dataclass
class StepPlugin(RestorePlugin):
    """Puts one resource that refers to all it depends on, if nothing goes wrong meanwhile."""

    resource_type: str
    celery: SimulatedCelery
    # What cannot be restored, for now.
    broken: set[int] = field(default_factory=set)
    Work = Step

    def prepare(self, *arguments: object) -> Step:
        raise NotImplementedError

    def produces(self, work: Step) -> Produces:  # noqa: ARG002 - the contract's signature
        return Produces.RESOURCE

    def restore(self, resource: Resource, work: Step, template: HeatTemplate, _context: Context) -> None:
        references = [template.get_resource_reference(f"id-{child}") for child in work.children]
        if self.celery.goes_wrong():
            # Often longer than the lease.
            self.celery.pause(self.celery.random.choice([1.0, 40.0]))
        self.celery.maybe_die()
        if self.celery.goes_wrong():
            raise StillBuilding("it takes its time", after=7)
        if self.celery.goes_wrong():
            raise BankUnavailableError
        if work.index in self.broken:
            raise BankError("it is broken")
        template.put_resource(resource.id, HeatResource(resource.type, {"needs": references}))


@st.composite
def graphs(draw) -> list[list[int]]:
    """Draw for each resource what it depends on: a chain, layers, a heap, or all on one."""
    size = draw(st.integers(1, 300))
    width, reach = draw(st.integers(0, 5)), draw(st.sampled_from([1, 10, 300]))
    chosen = random.Random(draw(st.integers(0, 2**32)))
    return [
        sorted({chosen.randrange(max(0, index - reach), index) for _ in range(chosen.randint(0, width)) if index})
        for index in range(size)
    ]


@dataclass
class Walk:
    """One restore of a graph on a simulated Celery."""

    children: list[list[int]]
    celery: SimulatedCelery
    restore_id: str

    def submit(self) -> None:
        new = new_restore(self.children, self.restore_id)
        works = [Step(index=index, children=each).model_dump_json() for index, each in enumerate(self.children)]
        self.celery.ledger.record(replace(new, work=works))
        self.celery.send_preflight(None, self.restore_id, 1)

    @property
    def state(self) -> RestoreState:
        return self.celery.ledger.get(self.restore_id).state

    def run(self, *, drain: bool = True) -> RestoreState:
        """Work to the end; drain: and until no message is left."""
        self.celery.run(lambda: self.state in FINAL_RESTORE_STATES, drain=drain)
        return self.state

    def resume(self) -> None:
        epoch = self.celery.ledger.resume(self.restore_id)
        self.celery.send_preflight(None, self.restore_id, epoch)

    def states(self) -> list[ResourceState]:
        return [each.state for each in self.celery.ledger.resources(self.restore_id)]

    def epochs(self) -> list[list[tuple[str, int | None]]]:
        """Return what happened, epoch by epoch."""
        epochs: list[list[tuple[str, int | None]]] = []
        for event in self.celery.ledger.events(self.restore_id):
            if event.name == RestoreState.PENDING:
                epochs.append([])
            epochs[-1].append((event.name, event.index))
        return epochs

    def check(self) -> None:
        """Each resource was settled once an epoch, after its children; the template was made after all, once."""
        done: set[int] = set()
        for epoch in self.epochs():
            settled = set(done)
            over = False
            for name, index in epoch:
                if index is None:
                    over = over or name in FINAL_RESTORE_STATES
                else:
                    assert not (over and name in SETTLED)
                    assert settled.issuperset(self.children[index])
                    assert index not in settled
                if index is not None and name in SETTLED:
                    settled.add(index)
                if name == RestoreState.ASSEMBLING:
                    assert len(settled) == len(self.children)
            assert [name for name, _ in epoch].count(RestoreState.ASSEMBLING) <= 1
            done |= {index for name, index in epoch if name == "done" and index is not None}


def walk(children: list[list[int]], seed: int, trouble: float, broken: set[int]) -> Walk:
    celery = SimulatedCelery(
        seed, trouble, lambda celery: [StepPlugin(f"Type::{kind}", celery, broken) for kind in (0, 1)]
    )
    return Walk(children, celery, "restore-1")


SEEDS = st.integers(0, 2**32)
TROUBLES = st.sampled_from([0.0, 0.02, 0.1])


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

    def cancel() -> None:
        if one.state not in FINAL_RESTORE_STATES:
            assert one.celery.ledger.move("restore-1", one.state, RestoreState.CANCELLED)

    one.celery.interrupted_at, one.celery.interrupt = step, cancel
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
