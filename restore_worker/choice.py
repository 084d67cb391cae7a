"""What of a checkpoint is restored: what was asked for and all that it needs, without what is skipped.

Two rules, and no exceptions: what is restored brings all that it depends on, and what is skipped takes along all
that depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from restore_worker.errors import CheckpointError
from restore_worker.graph import ResourceGraph
from restore_worker.resource import Resource, ResourceKey

# Resources that a sentence names.
_TOLD = 5


class Chosen(NamedTuple):
    """A resource that nobody named, or that is left out, and why.

    restored: it comes with what was asked for; else it is left out.
    """

    type: str
    id: str
    name: str
    restored: bool
    reason: str


class Choice:
    """What is restored of a checkpoint.

    resources, skip: selectors, each an id, ``TYPE`` or ``TYPE#ID``; no resources for all of them.
    Raises CheckpointError if a selector matches nothing, or nothing is left.
    """

    def __init__(
        self, checkpoint_id: str, graph: ResourceGraph, resources: Iterable[str] | None, skip: Iterable[str]
    ) -> None:
        self._where = f"checkpoint {checkpoint_id}"
        self._checkpoint = graph
        named = frozenset(graph.nodes) if resources is None else self._select(resources)
        if not named:
            raise CheckpointError("no resource is chosen: leave the choice out to restore the whole checkpoint")
        self._named = named
        self._wanted = graph.closure(named)
        self._skipped = self._select(skip)
        # What is left out, each with a child that is left out as well; None for what is skipped itself.
        lost = graph.dependants(self._skipped)
        self._needs = {key: lost[key] for key in lost if key in self._wanted}
        self._begin()

    def _begin(self) -> None:
        """Choose by the edges of the checkpoint alone, without all that needs something skipped."""
        self._asked = frozenset(key for key in self._named if key not in self._needs)
        if not self._asked:
            reasons = [
                f"{self._checkpoint.nodes[key]} is left out: {self._why(key)}" for key in sorted(self._named)
            ]
            more = f"; and {len(reasons) - _TOLD} more" if reasons[_TOLD:] else ""
            raise CheckpointError(f"{self._where} has nothing left to restore: {'; '.join(reasons[:_TOLD])}{more}")
        self.graph = self._checkpoint
        self.explicit = self.chosen = self.graph.closure(self._asked)

    def settle(self, imply: Callable[[], Mapping[ResourceKey, Iterable[ResourceKey]]]) -> None:
        """Add the edges that the graph forgot, and choose or leave out what they lead to.

        imply: returns what of the chosen resources needs which others; asked until that changes no answer.
        """
        before: frozenset[ResourceKey] = frozenset()
        while self.chosen != before:
            before = self.chosen
            graph = self._checkpoint.with_edges(imply())
            needs = graph.dependants(self._skipped)
            if lost := {key: needs[key] for key in before if key in needs}:
                # Without these, others may need less: all are asked again.
                self._needs = {**self._needs, **lost}
                self._begin()
            else:
                self.graph = graph
                self.chosen = graph.closure(before)

    def preview(self) -> tuple[Chosen, ...]:
        """Return what comes without having been named, then what is left out."""
        return (*self._added(), *self._left_out())

    def _added(self) -> Iterator[Chosen]:
        parents = self.graph.needed_by(self._asked)
        for key, node in self.graph.nodes.items():
            parent = parents.get(key)
            if parent is not None:
                yield _told(node, f"{self._checkpoint.nodes[parent]} needs it", restored=True)

    def _left_out(self) -> Iterator[Chosen]:
        for key, node in self._checkpoint.nodes.items():
            if key in self._needs or (key in self._wanted and key not in self.chosen):
                yield _told(node, self._why(key), restored=False)

    def _why(self, left_out: ResourceKey) -> str:
        if left_out not in self._needs:
            return "only what is left out needs it"
        child = self._needs[left_out]
        return "it is skipped" if child is None else f"it needs {self._checkpoint.nodes[child]}"

    def _select(self, selectors: Iterable[str]) -> frozenset[ResourceKey]:
        by_selector: dict[str, list[ResourceKey]] = {}
        for key in self._checkpoint.nodes:
            for selector in (key.id, key.type, str(key)):
                by_selector.setdefault(selector, []).append(key)
        found: list[ResourceKey] = []
        for selector in [selectors] if isinstance(selectors, str) else selectors:
            if selector not in by_selector:
                types = ", ".join(sorted({key.type for key in self._checkpoint.nodes}))
                raise CheckpointError(
                    f"{self._where} has no resource {selector!r}: give the id, TYPE or TYPE#ID of one "
                    f"of its resources (types: {types})"
                )
            found += by_selector[selector]
        return frozenset(found)


def _told(node: Resource, reason: str, *, restored: bool) -> Chosen:
    return Chosen(*node.key, node.name, restored, reason)
