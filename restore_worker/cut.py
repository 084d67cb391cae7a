"""Where a template that is too large for one stack is cut.

What much hangs on (networks, groups, images) comes first; the rest falls into pieces that need nothing of each
other, such as a server with its volumes, ports and attachments, and each piece stays whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from math import ceil
from typing import NamedTuple

# Pieces of up to a whole stack need the fewest stacks before them; smaller ones fill stacks better.
_PIECES_A_STACK = (1, 2, 4, 8, 16)
# So much may hang together at least, as a server and what is its own do.
_TOGETHER = 8


class Limits(NamedTuple):
    """How many resources, and characters of a template in UTF-8, one stack may have; the defaults are Heat's.

    Heat: ``max_resources_per_stack``, ``max_template_size``.
    """

    resources: int = 1000
    bytes: int = 524288

    def holds(self, resources: int, size: int) -> bool:
        """Say whether a stack may be so large."""
        return resources <= self.resources and size <= self.bytes


def cut(
    needs: Mapping[str, Collection[str]], sizes: Mapping[str, int], limits: Limits
) -> Sequence[Collection[str]]:
    """Return the parts, as few as will do and of those as many as can be built side by side.

    needs: by name, what must be there first; without loops, in which every name is a key.
    sizes: by name, bytes.
    No part needs anything of a later one. One thing that is larger than a stack may be is a part of its own.
    """
    # The same graph is cut in the same way, whatever order it comes in.
    order = list(TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)}).static_order())
    users = _users(needs)
    hanging = _hanging(order, needs, users)
    ascending = sorted(order, key=lambda name: (hanging[name], name))
    fewest_of_all = ceil(max(len(needs) / limits.resources, sum(sizes.values()) / limits.bytes))
    tries: list[list[list[str]]] = []
    fewest = 0
    for pieces in _PIECES_A_STACK:
        together = max(limits.resources // pieces, min(limits.resources, _TOGETHER))
        found = _Pieces(users, sizes, limits, Limits(together, limits.bytes // pieces))
        for name in ascending:
            found.add(name)
        first = _chunks(order, sizes, found.first, limits)
        # Where more comes first, pieces were broken that belong together.
        fewest = fewest or max(1, len(first))
        if len(first) <= fewest:
            tries.append(_packed(first, needs, found, limits))
        if len(tries[-1]) == fewest_of_all:
            break
    return min(tries, key=lambda parts: (len(parts), _depth(needs, parts)))


def waits(needs: Mapping[str, Collection[str]], parts: Sequence[Collection[str]]) -> list[set[int]]:
    """Return for each part the places of those that must be there before it."""
    place = {name: number for number, part in enumerate(parts) for name in part}
    return [{place[need] for name in part for need in needs[name]} - {number} for number, part in enumerate(parts)]


def _users(needs: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {name: [] for name in needs}
    for name, others in needs.items():
        for other in others:
            users[other].append(name)
    return users


def _hanging(
    order: Sequence[str], needs: Mapping[str, Collection[str]], users: Mapping[str, Collection[str]]
) -> dict[str, int]:
    """Return how much needs each, directly or not."""
    hanging: dict[str, int] = {}
    # As bits of a number, sets of thousands are joined in no time; one is kept until all that it needs has had it.
    sets: dict[str, int] = {}
    wanted = {name: len(needs[name]) for name in order}
    for place, name in enumerate(reversed(order)):
        own = 1 << place
        for user in users[name]:
            own |= sets[user]
            wanted[user] -= 1
            if not wanted[user]:
                del sets[user]
        hanging[name] = own.bit_count() - 1
        if wanted[name]:
            sets[name] = own
    return hanging


@dataclass
class _Pieces:
    """Things that need nothing of each other's pieces; to be added by how much hangs on them, the least first.

    largest: of what several pieces need, and which joins them.
    first: what belongs to no piece, and all that it needs.
    """

    users: Mapping[str, Collection[str]]
    sizes: Mapping[str, int]
    limits: Limits
    largest: Limits
    first: set[str] = field(default_factory=set)
    _members: dict[str, list[str]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)
    _above: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Join the pieces that need it, or put it first if they would be too large."""
        users = self.users[name]
        heads = {self._head(user) for user in users if user not in self.first}
        size = self.sizes[name] + sum(self._sizes[head] for head in heads)
        count = 1 + sum(len(self._members[head]) for head in heads)
        shared = any(user in self.first for user in users)
        # What one piece alone needs is its own.
        limits = self.largest if len(heads) > 1 else self.limits
        if shared or (heads and not limits.holds(count, size)):
            self.first.add(name)
            return
        self._above[name], self._members[name], self._sizes[name] = name, [name], size
        for head in heads:
            self._above[head] = name
            self._members[name] += self._members.pop(head)

    def __iter__(self) -> Iterator[tuple[list[str], int]]:
        """Yield each piece and its size."""
        for head, members in self._members.items():
            yield members, self._sizes[head]

    def _head(self, name: str) -> str:
        while self._above[name] != name:
            # Half the way next time.
            self._above[name] = self._above[self._above[name]]
            name = self._above[name]
        return name


@dataclass
class _Bin:
    """One stack to be."""

    limits: Limits
    names: list[str] = field(default_factory=list)
    size: int = 0

    def takes(self, count: int, size: int) -> bool:
        return not self.names or self.limits.holds(len(self.names) + count, self.size + size)

    def put(self, names: Iterable[str], size: int) -> None:
        self.names += names
        self.size += size

    def load(self) -> float:
        return max(len(self.names) / self.limits.resources, self.size / self.limits.bytes)


def _chunks(order: Iterable[str], sizes: Mapping[str, int], names: Collection[str], limits: Limits) -> list[_Bin]:
    """Return what comes first, in as many stacks as it takes."""
    chunks: list[_Bin] = []
    for name in order:
        if name in names:
            if not chunks or not chunks[-1].takes(1, sizes[name]):
                chunks.append(_Bin(limits))
            chunks[-1].put([name], sizes[name])
    return chunks


def _packed(
    first: Sequence[_Bin], needs: Mapping[str, Collection[str]], found: _Pieces, limits: Limits
) -> list[list[str]]:
    place = {name: number for number, each in enumerate(first) for name in each.names}
    pieces = []
    for members, size in found:
        earliest = max((place[need] for name in members for need in needs[name] if need in place), default=0)
        pieces.append((sorted(members), size, earliest))
    # The largest first, and each to where most room is: so they come out alike.
    pieces.sort(key=lambda piece: (-len(piece[0]), -piece[1], piece[0]))
    all_of_it = _Bin(limits)
    for names, size in (*((each.names, each.size) for each in first), *found):
        all_of_it.put(names, size)
    count = max(0, ceil(all_of_it.load()) - len(first))
    while (parts := _filled(first, pieces, count, limits)) is None:
        count += 1
    return parts


def _filled(
    first: Sequence[_Bin], pieces: Iterable[tuple[list[str], int, int]], count: int, limits: Limits
) -> list[list[str]] | None:
    """Return the parts if so many more than the first ones are enough for all pieces."""
    # All wait for the first ones, so these get only what the others have no room for.
    before = [_Bin(limits, list(each.names), each.size) for each in first]
    others = [_Bin(limits) for _ in range(count)]
    for members, size, earliest in pieces:
        room = [each for each in others if each.takes(len(members), size)] or [
            each for each in before[earliest:] if each.takes(len(members), size)
        ]
        if not room:
            return None
        min(room, key=_Bin.load).put(members, size)
    return [each.names for each in (*before, *others) if each.names]


def _depth(needs: Mapping[str, Collection[str]], parts: Sequence[Collection[str]]) -> int:
    """Return how many parts must be built one after the other."""
    depths: list[int] = []
    for others in waits(needs, parts):
        depths.append(1 + max((depths[other] for other in others), default=0))
    return max(depths, default=0)
