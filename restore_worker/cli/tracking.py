"""A restore as its events tell it: where each resource stands, and how long the rest may take."""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from restore_worker.entries import Event, Node
from restore_worker.errors import printable
from restore_worker.states import SETTLED_RESOURCE_STATES, ResourceState, RestoreState

_GOLDEN = 0.6180339887
AT_WORK = frozenset({ResourceState.RUNNING, ResourceState.WAITING})


@dataclass(slots=True)
class TrackedResource:
    """Where a resource stands.

    bytes: read so far for what is being transferred.
    began, ended: of the last time that it was restored; None if not yet.
    """

    node: Node
    state: ResourceState = ResourceState.PLANNED
    attempts: int = 0
    reason: str = ""
    bytes: int = 0
    began: datetime | None = None
    ended: datetime | None = None

    @property
    def settled(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in SETTLED_RESOURCE_STATES


@dataclass(slots=True)
class TrackedStackResource:
    """Where Heat is with a resource of the stack. status: such as ``CREATE_IN_PROGRESS``."""

    name: str
    status: str = ""
    reason: str = ""


class Tracking:
    """What is known of a restore from those of its events that it was given, in their order."""

    def __init__(self, nodes: Sequence[Node], children: Mapping[int, Sequence[int]]) -> None:
        """Begin with a restore nothing of which has happened.

        nodes: every child before its parents.
        children: by index, what a resource depends on.
        """
        self.resources = {node.index: TrackedResource(node) for node in nodes}
        self.children = children
        self.state = RestoreState.PENDING
        self.reason = ""
        self.phases: dict[RestoreState, datetime] = {}
        self.stack: dict[str, TrackedStackResource] = {}
        self.settled = 0

    def take(self, event: Event) -> None:
        """Take the next event."""
        if event.name == "stack":
            name = event.details["name"]
            built = self.stack.setdefault(name, TrackedStackResource(name))
            built.status = event.details["status"]
            built.reason = printable(event.details["reason"]) if built.status.endswith("_FAILED") else ""
        elif event.index is not None:
            self._of_resource(self.resources[event.index], event)
        elif event.name in tuple(RestoreState):
            self._of_restore(RestoreState(event.name), event)
        elif event.name == "waiting":
            self.reason = printable(event.details.get("reason", ""))

    def _of_restore(self, state: RestoreState, event: Event) -> None:
        if state is RestoreState.PENDING:
            # A resumed restore begins again with what was not restored.
            self.phases.clear()
            self.stack.clear()
            for each in self.resources.values():
                if each.state is not ResourceState.DONE:
                    self.resources[each.node.index] = TrackedResource(each.node)
            self.settled = sum(each.settled for each in self.resources.values())
        self.state, self.reason = state, printable(event.details.get("reason", ""))
        self.phases[state] = event.time

    def _of_resource(self, resource: TrackedResource, event: Event) -> None:
        if event.name == "moved":
            resource.bytes = int(event.details["bytes"])
        if event.name not in tuple(ResourceState):
            return
        self.settled -= resource.settled
        resource.state = ResourceState(event.name)
        resource.reason = printable(event.details.get("reason", ""))
        if resource.state is ResourceState.RUNNING:
            resource.attempts = int(event.details["attempt"])
            resource.bytes = 0
            resource.began = resource.began or event.time
        elif resource.settled:
            resource.ended = event.time
        self.settled += resource.settled

    def remaining(self, now: datetime) -> float | None:
        """Return how many seconds the resources may still take, by how long those of their types took.

        None until one has ended. What Heat needs afterwards is not in it.
        """
        took = self._took()
        if self.state is not RestoreState.RESTORING or not took:
            return None
        seen: Counter[str] = Counter()
        takes: dict[int, float] = {}
        for index, each in self.resources.items():
            if not each.settled:
                # By the golden ratio the times of a type come in no order, but as often as they were seen.
                seen[each.node.type] += 1
                takes[index] = _rest(took.of(each.node), _age(each, now), seen[each.node.type] * _GOLDEN % 1)
        return _makespan(takes, self.children, self._slots())

    def _took(self) -> _Took:
        took = _Took()
        for each in self.resources.values():
            if each.state is ResourceState.DONE and each.began and each.ended:
                took.add(each.node, (each.ended - each.began).total_seconds())
        return took

    def _slots(self) -> int:
        """Return how many resources were restored side by side, at most, so far."""
        moments = [
            (moment, step)
            for each in self.resources.values()
            for moment, step in ((each.began, 1), (each.ended if each.began else None, -1))
            if moment is not None
        ]
        most = count = 0
        for _, step in sorted(moments):
            count += step
            most = max(most, count)
        return max(most, 1)


class _Took:
    """How long resources took, in seconds, in ascending order."""

    def __init__(self) -> None:
        self._by_type: dict[str, list[float]] = defaultdict(list)
        self._by_queue: dict[str, list[float]] = defaultdict(list)
        self._all: list[float] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, node: Node, seconds: float) -> None:
        for times in (self._by_type[node.type], self._by_queue[node.queue], self._all):
            insort(times, seconds)

    def of(self, node: Node) -> list[float]:
        """Return the times of its type; if none was seen, of what moves bytes, or does not, as it does."""
        return self._by_type.get(node.type) or self._by_queue.get(node.queue) or self._all


def _rest(times: Sequence[float], age: float, rank: float) -> float:
    """Return how long something takes that has taken ``age`` already; rank: among its like, from 0 to 1."""
    longer = times[bisect_right(times, age) :] if age else times
    if not longer:
        # Longer than any before: who knows? It is not done.
        return age / 4
    return longer[int(rank * len(longer))] - age


def _age(resource: TrackedResource, now: datetime) -> float:
    return max((now - resource.began).total_seconds(), 0.0) if resource.began else 0.0


def _makespan(takes: Mapping[int, float], children: Mapping[int, Sequence[int]], slots: int) -> float:
    """Return when the last of these ends, if so many are restored side by side, each after those it depends on."""
    needed = {index: sum(child in takes for child in children.get(index, ())) for index in takes}
    parents: dict[int, list[int]] = defaultdict(list)
    for index in takes:
        for child in children.get(index, ()):
            parents[child].append(index)
    ready = sorted(index for index in takes if not needed[index])
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            index = heapq.heappop(ready)
            heapq.heappush(running, (now + takes[index], index))
        now, ended = heapq.heappop(running)
        for parent in parents[ended]:
            needed[parent] -= 1
            if not needed[parent]:
                heapq.heappush(ready, parent)
    return now
