"""A resource graph as a picture shows it: boxes and arrows, where many resources that are alike are one box."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from restore_worker.graph import ResourceGraph
from restore_worker.resource import ResourceKey
from restore_worker.states import ResourceState

# More boxes than that are no picture any more.
_MOST_BOXES = 48
# Of those that failed, or that all had to wait for, so many are boxes of their own where others are not.
_MOST_SINGLE = 12
# A box of many is drawn in the state that asks most for a look.
_FOREMOST = (
    ResourceState.FAILED,
    ResourceState.RUNNING,
    ResourceState.WAITING,
    ResourceState.SKIPPED,
    ResourceState.READY,
    ResourceState.PLANNED,
    ResourceState.DONE,
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A resource that is to be in a picture.

    state: None where nothing is restored.
    critical: whether others had to wait for it up to the end.
    """

    type: str
    title: str
    state: ResourceState | None = None
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """One resource, or all of a type that are not boxes of their own.

    states: how many are in which; empty where nothing is restored.
    """

    type: str
    title: str
    size: int
    states: Mapping[ResourceState, int]
    critical: bool

    @property
    def state(self) -> ResourceState | None:
        """The state that asks most for a look; None where nothing is restored."""
        return next((state for state in _FOREMOST if state in self.states), None)


@dataclass(frozen=True, slots=True)
class Diagram:
    """What to draw.

    arrows: places in ``boxes``: from what is restored first to what needs it, without those that others imply.
    """

    title: str
    boxes: Sequence[Box]
    arrows: Sequence[tuple[int, int]]

    @property
    def restored(self) -> bool:
        """Whether it shows a restore, not only what might be restored."""
        return any(each.states for each in self.boxes)


def of_graph(title: str, graph: ResourceGraph) -> Diagram:
    """Return the diagram of a checkpoint's resources."""
    places: dict[ResourceKey, int] = {key: place for place, key in enumerate(graph.order())}
    drawn = [Drawn(key.type, graph.nodes[key].name or key.id) for key in places]
    children = {places[parent]: [places[each] for each in found] for parent, found in graph.children.items()}
    return diagram(title, drawn, children)


def diagram(title: str, resources: Sequence[Drawn], children: Mapping[int, Sequence[int]]) -> Diagram:
    """Return the diagram of resources; children: by place, what a resource depends on."""
    single = _single(resources)
    boxes: list[Box] = []
    groups: dict[str, list[int]] = defaultdict(list)
    place_of: dict[int, int] = {}
    for index, each in enumerate(resources):
        if index in single:
            place_of[index] = len(boxes)
            boxes.append(_box(each.type, each.title, [each]))
        else:
            groups[each.type].append(index)
    for kind, members in groups.items():
        place_of |= dict.fromkeys(members, len(boxes))
        first = resources[members[0]]
        # What is drawn beside them is of the type, too.
        more = "more " if any(resources[index].type == kind for index in single) else ""
        title_of = first.title if len(members) == 1 else f"{len(members)} {more}resources"
        boxes.append(_box(kind, title_of, [resources[index] for index in members]))
    needs: dict[int, set[int]] = defaultdict(set)
    for parent, found in children.items():
        needs[place_of[parent]] |= {place_of[child] for child in found} - {place_of[parent]}
    return Diagram(title, boxes, sorted(_reduced(needs)))


def _single(resources: Sequence[Drawn]) -> set[int]:
    """Return which resources are boxes of their own."""
    if len(resources) <= _MOST_BOXES:
        return set(range(len(resources)))
    failed = [index for index, each in enumerate(resources) if each.state is ResourceState.FAILED]
    critical = [index for index, each in enumerate(resources) if each.critical]
    return {*failed[:_MOST_SINGLE], *critical[-_MOST_SINGLE:]}


def _box(kind: str, title: str, members: Iterable[Drawn]) -> Box:
    members = tuple(members)
    states = Counter(each.state for each in members if each.state is not None)
    return Box(kind, title, len(members), dict(states), any(each.critical for each in members))


def _reduced(needs: Mapping[int, set[int]]) -> Iterable[tuple[int, int]]:
    """Yield the arrows without those that others imply. Boxes that need each other keep all."""
    reached = {parent: {child: _reached(needs, child) for child in found} for parent, found in needs.items()}
    for parent, by_child in reached.items():
        for child in by_child:
            others = (each for other, each in by_child.items() if other != child)
            if not any(child in each and parent not in each for each in others):
                yield child, parent


def _reached(needs: Mapping[int, set[int]], start: int) -> set[int]:
    """Return all that a box needs, also through others."""
    found: set[int] = set()
    todo = [start]
    while todo:
        for child in needs.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found
