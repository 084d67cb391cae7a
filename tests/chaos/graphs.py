"""Graphs of resources, drawn: wide fan-outs, diamonds, chains and heaps, under one project that has everything."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.banks import BankCheckpoint, Node

TYPE = "Test::Thing"


@dataclass
class Graph:
    """What each thing is, by index, and what it depends on."""

    things: list[dict[str, Any]] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)

    @property
    def direct(self) -> list[str]:
        """Ids of what is built directly."""
        return [f"t{index}" for index, thing in enumerate(self.things) if thing["kind"] == "direct"]

    def checkpoint(self) -> BankCheckpoint:
        """Return it as a checkpoint of things ``t0``, ``t1``, ..."""
        nodes = tuple(
            Node(TYPE, f"t{index}", f"thing {index}", None, thing) for index, thing in enumerate(self.things)
        )
        edges = {
            nodes[index].key: tuple(nodes[each].key for each in found) for index, found in enumerate(self.children)
        }
        return BankCheckpoint(nodes=nodes, edges=edges)

    def add(self, random: Random, children: list[int]) -> int:
        """Add a thing that needs the others; what is built directly cannot wait for what Heat will build."""
        free = all(self.things[child]["kind"] == "direct" for child in children)
        kind = "direct" if free and random.random() < 0.7 else random.choice(["heat", "heat", "heat", "network"])
        thing: dict[str, Any] = {
            "kind": kind,
            "seconds": round(random.choice([0, 0, 0, random.uniform(0, 0.1)]), 3),
        }
        if kind == "direct" and random.random() < 0.1:
            thing["slow"] = round(random.uniform(0, 1), 2)
        if kind == "network":
            thing["parts"] = random.randrange(5, 20)
        self.things.append(thing)
        self.children.append(children)
        return len(self.things) - 1


def draw(random: Random, size: int) -> Graph:
    """Return a graph of so many things."""
    graph = Graph()
    add = graph.add
    # One fan-out at least, for what happens in the middle of one.
    shapes = itertools.chain(["wide"], iter(lambda: random.choice(["wide", "diamond", "chain", "heap"]), None))
    for shape in shapes:
        room = size - 1 - len(graph.things)
        if room <= 4:
            break
        old = [random.randrange(len(graph.things))] if graph.things and random.random() < 0.5 else []
        root = add(random, old)
        if shape == "wide":
            for _ in range(min(room - 1, random.randrange(20, 90))):
                add(random, [root])
        elif shape == "diamond":
            add(random, [add(random, [root]), add(random, [root])])
        elif shape == "chain":
            for _ in range(min(room - 1, random.randrange(3, 12))):
                root = add(random, [root])
        else:
            for _ in range(min(room - 1, random.randrange(5, 40))):
                known = len(graph.things)
                add(random, sorted({random.randrange(known) for _ in range(random.randrange(4))}))
    graph.things.append({"kind": "project"})
    graph.children.append(list(range(len(graph.things) - 1)))
    return graph
