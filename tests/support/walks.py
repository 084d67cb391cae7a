"""Restores of any graph on a simulated Celery, and on a simulated Heat if they have a cloud."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from hypothesis import strategies as st
from pydantic import BaseModel

from restore_worker.cut import Limits
from restore_worker.errors import BankError, BankUnavailableError
from restore_worker.plugin import Context, Produces, RestorePlugin, StillBuilding
from restore_worker.resource import Resource
from restore_worker.states import FINAL_RESTORE_STATES, ResourceState, RestoreState, may_follow
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate
from tests.support.restores import new_restore
from tests.support.simulation import SimulatedCelery

SETTLED = {"done", "failed", "skipped"}
SEEDS = st.integers(0, 2**32)
TROUBLES = st.sampled_from([0.0, 0.02, 0.1])


class Step(BaseModel):
    index: int
    children: list[int]


@dataclass
class StepPlugin(RestorePlugin):
    """Puts one resource that refers to all it depends on, if nothing goes wrong meanwhile.

    With a cloud, every other one is a volume that it builds itself.
    """

    resource_type: str
    celery: SimulatedCelery
    # What cannot be restored, for now.
    broken: set[int] = field(default_factory=set)
    Work = Step

    def prepare(self, *arguments: object) -> Step:
        raise NotImplementedError

    def produces(self, work: Step) -> Produces:
        return Produces.PARAMETER if work.index % 2 else Produces.RESOURCE

    def restore(self, resource: Resource, work: Step, template: HeatTemplate, context: Context) -> None:
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
        if work.index % 2 and not context.rendering:
            find = partial(self.celery.volumes.get, resource.id)
            built = context.once("volume", partial(self._build, resource.id), find)
            template.put_parameter(resource.id, HeatParameter(built, resource.type))
        else:
            template.put_resource(resource.id, HeatResource(resource.type, {"needs": references}))

    def _build(self, resource_id: str) -> str:
        assert resource_id not in self.celery.volumes
        self.celery.maybe_die()
        self.celery.volumes[resource_id] = f"volume of {resource_id}"
        # Nobody may have heard of it.
        self.celery.heat.trip()
        return self.celery.volumes[resource_id]

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:  # noqa: ARG002 - the contract's signature
        self.celery.heat.trip()
        found = self.celery.volumes.pop(resource.id, None)
        assert set(made.values()) <= {found, f"volume of {resource.id}"}


@st.composite
def graphs(draw, most: int = 300) -> list[list[int]]:
    """Draw for each resource what it depends on: a chain, layers, a heap, or all on one."""
    size = draw(st.integers(1, most))
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
    cloud: str
    # Of one stack.
    limits: Limits | None = None

    def submit(self) -> None:
        new = new_restore(self.children, self.restore_id)
        works = [Step(index=index, children=each).model_dump_json() for index, each in enumerate(self.children)]
        new = replace(new, work=works, cloud=self.cloud, wants_stack=bool(self.cloud), limits=self.limits)
        self.celery.ledger.record(new)
        self.celery.send_preflight(None, self.restore_id, 1)

    @property
    def state(self) -> RestoreState:
        return self.celery.ledger.get(self.restore_id).state

    def run(self, *, drain: bool = True) -> RestoreState:
        """Work to the end; drain: and until nobody looks at the stack any more, and no message is left."""

        def over() -> bool:
            return self.state in FINAL_RESTORE_STATES and not (drain and self.celery.ledger.stacks.followed())

        self.celery.run(over, drain=drain)
        return self.state

    def cancel(self) -> None:
        if may_follow(self.state, RestoreState.CANCELLED):
            assert self.celery.ledger.move(self.restore_id, self.state, RestoreState.CANCELLED)

    def ask(self, state: RestoreState) -> RestoreState:
        """Have an ended restore destroyed or forgotten, and see that through."""
        assert self.celery.ledger.move(self.restore_id, self.state, state)
        return self.run()

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
                    # Who had lost the resource may have built something all the same, which is noted whenever it comes.
                    assert name == "made" or index not in settled
                if index is not None and name in SETTLED:
                    settled.add(index)
                if name == RestoreState.ASSEMBLING:
                    assert len(settled) == len(self.children)
            assert [name for name, _ in epoch].count(RestoreState.ASSEMBLING) <= 1
            done |= {index for name, index in epoch if name == "done" and index is not None}


def walk(
    children: list[list[int]],
    seed: int,
    trouble: float,
    broken: set[int],
    cloud: str = "",
    limits: Limits | None = None,
) -> Walk:
    celery = SimulatedCelery(
        seed, trouble, lambda celery: [StepPlugin(f"Type::{kind}", celery, broken) for kind in (0, 1)]
    )
    return Walk(children, celery, "restore-1", cloud, limits)
