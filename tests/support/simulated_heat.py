"""Heat as the worst it may be, in this process: it takes its time, does not answer, and answers are lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from restore_worker.entries import Built, stack_name
from restore_worker.errors import CloudUnavailableError
from restore_worker.hot import Hot
from restore_worker.stack import Stack, StackEvent

if TYPE_CHECKING:
    from tests.support.simulation import SimulatedCelery


@dataclass
class SimulatedStack:
    """A stack of one server, whatever its template says."""

    id: str
    name: str
    hot: Hot
    action: str = "CREATE"
    status: str = "IN_PROGRESS"
    ends: float = 0.0
    # How often an action was begun.
    begun: int = 0
    retains: bool = False
    events: list[StackEvent] = field(default_factory=list)

    @property
    def server(self) -> str:
        return f"server of {self.id}"

    def seen(self) -> Stack:
        return Stack(self.id, self.name, f"{self.action}_{self.status}", "", f"action {self.begun}")

    def outputs(self) -> dict[str, str]:
        """What it tells: of one of several, an id for each that its template would tell."""
        if not self.hot.number:
            return {"server": self.server}
        told = yaml.load(self.hot.text, Loader=yaml.CSafeLoader)["outputs"]
        return {name: f"{name} of {self.id}" for name in told}

    def note(self) -> None:
        place, status = f"{self.id}.{len(self.events) + 1}", f"{self.action}_{self.status}"
        self.events.append(StackEvent(place, "server", status, "as Heat says"))


class SimulatedHeat:
    """The doors of `restore_worker.stack.Heat`, and what is on its cloud.

    failing: actions that fail, for now.
    failing_names: stacks of which all actions but deletions fail, for now.
    hanging: actions that come to no end, for now.
    back: when it answers again, on the simulation's clock.
    calls: when it was asked anything.
    servers: those that are there, in a stack or not.
    asked: how often each action was begun.
    """

    def __init__(self, celery: SimulatedCelery) -> None:
        self.failing: set[str] = set()
        self.failing_names: set[str] = set()
        self.hanging: set[str] = set()
        self.back = 0.0
        self.calls: list[float] = []
        self.servers: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._celery = celery
        self._stacks: list[SimulatedStack] = []

    @property
    def live(self) -> list[SimulatedStack]:
        """The stacks that are not deleted."""
        self._work()
        return [each for each in self._stacks if (each.action, each.status) != ("DELETE", "COMPLETE")]

    def trip(self) -> None:
        """Let the others go on meanwhile, die, or hear nothing."""
        if self._celery.goes_wrong():
            self._celery.pause(self._celery.random.choice([1.0, 40.0]))
        self._celery.maybe_die()
        if self._celery.goes_wrong():
            raise CloudUnavailableError("the cloud does not answer")

    # What the engine asks

    def find(self, name_or_id: str) -> Stack | None:
        with self._call():
            by_name = [each for each in self.live if each.name == name_or_id]
            found = by_name or [each for each in self._stacks if each.id == name_or_id]
        return found[0].seen() if found else None

    def ours(self, names: Sequence[str]) -> dict[str, Stack]:
        with self._call():
            return {each.name: each.seen() for each in self.live if each.name in names}

    def preview(self, restore_id: str, hot: Hot) -> None:
        assert hot.resources, restore_id
        self._check(restore_id, hot)
        self.trip()

    def create(self, restore_id: str, checkpoint_id: str, hot: Hot, *, minutes: int) -> Stack:
        assert (checkpoint_id, hot.resources > 0, minutes) == ("checkpoint-1", True, 240)
        name = stack_name(restore_id, hot.number)
        with self._call():
            self._check(restore_id, hot)
            known = [each for each in self.live if each.name == name]
            stack = known[0] if known else SimulatedStack(f"stack-{len(self._stacks) + 1}", name, hot)
            if not known:
                self._stacks.append(stack)
                self._begin(stack, "CREATE")
        return stack.seen()

    def update(self, stack_id: str, hot: Hot, *, minutes: int) -> None:
        assert (hot.resources > 0, minutes) == (True, 240)
        stack = self._update(stack_id)
        stack.retains, stack.hot = False, hot

    def has_values(self, stack_id: str, values: dict[str, str]) -> bool:
        with self._call():
            return values.items() <= dict(self._of(stack_id).hot.values).items()

    def retain(self, stack_id: str) -> None:
        self._update(stack_id).retains = True

    def retains(self, stack_id: str) -> bool:
        with self._call():
            return self._of(stack_id).retains

    def cancel(self, stack_id: str) -> None:
        with self._call():
            stack = self._of(stack_id)
            if stack.status == "IN_PROGRESS" and stack.action in {"CREATE", "UPDATE"}:
                stack.status = "FAILED"
                stack.note()

    def delete(self, stack_id: str) -> None:
        with self._call():
            if self._of(stack_id) in self.live:
                self._begin(self._of(stack_id), "DELETE")

    def resources(self, stack_id: str) -> list[Built]:
        with self._call():
            stack = self._of(stack_id)
            status = f"{stack.action}_{stack.status}"
        return [Built("server", "OS::Nova::Server", status, "as Heat says", stack.server)]

    def events(self, stack_id: str, after: str = "") -> list[StackEvent]:
        with self._call():
            events = self._of(stack_id).events
            known = [number for number, each in enumerate(events, 1) if each.id == after]
        return events[known[0] if known else 0 :]

    def outputs(self, stack_id: str) -> dict[str, str]:
        with self._call():
            return {name: json.dumps(value) for name, value in self._of(stack_id).outputs().items()}

    # What happens

    def vanish(self, stack: SimulatedStack) -> None:
        """Let somebody else delete a stack."""
        self.servers.remove(stack.server)
        stack.action, stack.status = "DELETE", "COMPLETE"

    def _update(self, stack_id: str) -> SimulatedStack:
        with self._call():
            stack = self._of(stack_id)
            if stack.status == "IN_PROGRESS":
                raise CloudUnavailableError("the stack is busy")
            assert stack.action != "DELETE", "Heat would refuse"
            self._begin(stack, "UPDATE")
        return stack

    def _check(self, restore_id: str, hot: Hot) -> None:
        """What it waits for is complete, and what it takes over is what those tell."""
        by_name = {each.name: each for each in self.live}
        others = {number: by_name[stack_name(restore_id, number)] for number in hot.waits_for}
        assert all(each.seen().complete for each in others.values())
        for name, (number, output) in hot.borrowed.items():
            assert hot.values[name] == others[number].outputs()[output]

    @contextmanager
    def _call(self) -> Iterator[None]:
        self.calls.append(self._celery.now)
        if self._celery.now < self.back:
            raise CloudUnavailableError("the cloud is away")
        self.trip()
        self._work()
        yield
        # It was done, but nobody may know.
        self.trip()

    def _of(self, stack_id: str) -> SimulatedStack:
        (found,) = (each for each in self._stacks if each.id == stack_id)
        return found

    def _begin(self, stack: SimulatedStack, action: str) -> None:
        if action == "DELETE" and not stack.retains:
            # Services do not delete a network as long as something is in it.
            assert not any(stack.hot.number in each.hot.waits_for for each in self.live)
        stack.action, stack.status, stack.begun = action, "IN_PROGRESS", stack.begun + 1
        stack.ends = self._celery.now + self._celery.random.choice([1.0, 10.0, 300.0])
        self.asked[action] += 1
        if action == "CREATE":
            self.servers.add(stack.server)
        stack.note()

    def _work(self) -> None:
        for stack in self._stacks:
            hangs = stack.action in self.hanging
            if stack.status == "IN_PROGRESS" and stack.ends <= self._celery.now and not hangs:
                fails = stack.name in self.failing_names and stack.action != "DELETE"
                stack.status = "FAILED" if fails or stack.action in self.failing else "COMPLETE"
                if stack.seen().status == "DELETE_COMPLETE" and not stack.retains:
                    self.servers.remove(stack.server)
                stack.note()
