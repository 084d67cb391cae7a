"""The resource graph: which resource needs which others first. Pure, iterative, linear in nodes + edges."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from restore_worker.errors import GraphError
from restore_worker.resource import Resource, ResourceKey

# Resources of a cycle that are named.
_TOLD = 100


@dataclass(frozen=True, slots=True)
class ResourceGraph:
    """A directed acyclic graph; an edge leads from a resource (parent) to what it depends on (child).

    nodes: by key, in the order of the checkpoint.
    children: by parent, in the order of the checkpoint; resources without children are absent.
    """

    nodes: Mapping[ResourceKey, Resource]
    children: Mapping[ResourceKey, tuple[ResourceKey, ...]]

    def order(self) -> tuple[ResourceKey, ...]:
        """Return all keys, every child before its parents; GraphError names the path of a cycle."""
        sorter: TopologicalSorter[ResourceKey] = TopologicalSorter()
        for key in self.nodes:
            sorter.add(key, *self.children.get(key, ()))
        try:
            return tuple(sorter.static_order())
        except CycleError as error:
            # graphlib tells the cycle from child to parent.
            keys = [str(key) for key in reversed(error.args[1])]
            if len(keys) > _TOLD:
                keys[_TOLD - 1 : -1] = [f"({len(keys) - _TOLD} more)"]
            path = " -> ".join(keys)
            raise GraphError(f"the resource graph has a cycle: {path}") from None

    def closure(self, keys: Iterable[ResourceKey]) -> frozenset[ResourceKey]:
        """Return ``keys`` and all that they depend on."""
        return frozenset(self.needed_by(keys))

    def needed_by(self, keys: Iterable[ResourceKey]) -> dict[ResourceKey, ResourceKey | None]:
        """Return ``keys`` and all that they depend on, each with a parent that needs it; None for ``keys``."""
        return _reached(keys, self.children)

    def dependants(self, keys: Iterable[ResourceKey]) -> dict[ResourceKey, ResourceKey | None]:
        """Return ``keys`` and all that depends on them, each with a child that leads there; None for ``keys``."""
        return _reached(keys, self.parents())

    def parents(self) -> dict[ResourceKey, tuple[ResourceKey, ...]]:
        """Return by child all resources that depend on it."""
        found: dict[ResourceKey, list[ResourceKey]] = {}
        for parent, children in self.children.items():
            for child in children:
                found.setdefault(child, []).append(parent)
        return {child: tuple(parents) for child, parents in found.items()}

    def restricted(self, keys: frozenset[ResourceKey]) -> ResourceGraph:
        """Return the part of the graph that has only ``keys`` and the edges between them."""
        return ResourceGraph(
            {key: node for key, node in self.nodes.items() if key in keys},
            {
                parent: kept
                for parent, children in self.children.items()
                if parent in keys and (kept := tuple(child for child in children if child in keys))
            },
        )

    def with_edges(self, edges: Mapping[ResourceKey, Iterable[ResourceKey]]) -> ResourceGraph:
        """Return the graph with further children for some parents; known edges are not doubled."""
        children = dict(self.children)
        for parent, further in edges.items():
            children[parent] = tuple(dict.fromkeys((*children.get(parent, ()), *further)))
        return ResourceGraph(self.nodes, children)


def _reached(
    starts: Iterable[ResourceKey], edges: Mapping[ResourceKey, Iterable[ResourceKey]]
) -> dict[ResourceKey, ResourceKey | None]:
    """Return all that can be reached, the nearest first, each with where from; the starts with None."""
    found: dict[ResourceKey, ResourceKey | None] = dict.fromkeys(starts)
    todo = deque(found)
    while todo:
        here = todo.popleft()
        for there in edges.get(here, ()):
            if there not in found:
                found[there] = here
                todo.append(there)
    return found


def build_graph(
    nodes: Iterable[tuple[str, Resource]], adjacency: Iterable[tuple[str, list[str]]]
) -> ResourceGraph:
    """Return the checked graph of nodes by label and, per label of a parent, the labels of its children.

    The same resource under two labels (an old and a new name) is one node; the first one found stays.
    Raises GraphError for an unknown label, a resource that depends on itself, or a cycle.
    """
    by_key: dict[ResourceKey, Resource] = {}
    by_label: dict[str, ResourceKey] = {}
    for label, node in nodes:
        by_label[label] = node.key
        by_key.setdefault(node.key, node)
    children: dict[ResourceKey, dict[ResourceKey, None]] = {}
    for parent, labels in adjacency:
        for label in (parent, *labels):
            if label not in by_label:
                raise GraphError(f"the resource graph has an edge at {label[:80]!r}, which is no node of it")
        for label in labels:
            if by_label[label] == by_label[parent]:
                raise GraphError(f"{by_key[by_label[parent]]} depends on itself in the resource graph")
            children.setdefault(by_label[parent], {})[by_label[label]] = None
    graph = ResourceGraph(by_key, {parent: tuple(keys) for parent, keys in children.items()})
    graph.order()
    return graph
