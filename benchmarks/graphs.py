"""Random graphs of steps."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.support.banks import BankCheckpoint, Node, write


@dataclass(frozen=True, slots=True)
class Graph:
    """Resources by index: what each needs, and how long it works.

    children: indices smaller than the resource's own.
    seconds: by index.
    """

    children: tuple[tuple[int, ...], ...]
    seconds: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.children)

    @property
    def critical_path(self) -> float:
        """Seconds that the restore takes with workers without end, which cost nothing."""
        return max(self._longest(self.seconds))

    @property
    def depth(self) -> int:
        """Number of resources on the longest way up."""
        return int(max(self._longest((1.0,) * len(self))))

    def _longest(self, weights: tuple[float, ...]) -> list[float]:
        ends: list[float] = []
        for children, weight in zip(self.children, weights, strict=True):
            ends.append(weight + max((ends[child] for child in children), default=0.0))
        return ends

    def save(self, bank: Path) -> Path:
        """Write the graph as the only checkpoint of a new bank; the bank."""
        nodes = tuple(
            Node("Test::Step", f"step-{index}", f"step {index}", metadata={"seconds": seconds})
            for index, seconds in enumerate(self.seconds)
        )
        edges = {
            nodes[index].key: tuple(nodes[child].key for child in children)
            for index, children in enumerate(self.children)
        }
        write(BankCheckpoint(nodes=nodes, edges=edges), bank)
        return bank


def random_graph(size: int, seed: int = 0, longest: float = 0.0) -> Graph:
    """Return a graph in which each resource needs up to three of the thirty before it.

    longest: times are drawn between a tenth of it and it, in seconds.
    """
    draw = random.Random(seed)
    children = []
    for index in range(size):
        before = range(max(0, index - 30), index)
        children.append(tuple(sorted(draw.sample(before, min(len(before), draw.randint(0, 3))))))
    return Graph(tuple(children), tuple(round(draw.uniform(longest / 10, longest), 4) for _ in children))


def project_graph(servers: int, seed: int = 0, longest: float = 0.0) -> Graph:
    """Return a project: networks, images, and servers that need one of each and two volumes of their own.

    longest: as of `random_graph`.
    """
    draw = random.Random(seed)
    networks, images = range(4), range(4, 7)
    children: list[tuple[int, ...]] = [()] * 7
    for _ in range(servers):
        children += [(), (), (draw.choice(networks), draw.choice(images), len(children), len(children) + 1)]
    children.append(tuple(range(len(children))))
    return Graph(tuple(children), tuple(round(draw.uniform(longest / 10, longest), 4) for _ in children))


def waiting_graph(size: int, seconds: float) -> Graph:
    """Return resources that need nobody and work equally long."""
    return Graph(((),) * size, (seconds,) * size)
