"""Resource graphs of any shape, and what can be reached in them, for tests of whoever walks them."""

import random

from hypothesis import strategies as st

from restore_worker.graph import build_graph
from restore_worker.resource import Resource, ResourceKey


def node(number):
    return Resource(ResourceKey("OS::Cinder::Volume", f"v{number}"), f"disk {number}")


def key(number):
    return node(number).key


def graph_of(children, size):
    """Build the graph of ``size`` nodes labelled by their numbers; children: numbers by number."""
    nodes = [(str(number), node(number)) for number in range(size)]
    return build_graph(
        nodes, [(str(parent), [str(child) for child in found]) for parent, found in children.items()]
    )


@st.composite
def dags(draw, most=300):
    """Children by parent in a random order of the labels, and the number of nodes."""
    size = draw(st.integers(1, most))
    chance = random.Random(draw(st.integers(0, 2**32)))
    labels = chance.sample(range(size), size)
    fan = draw(st.integers(0, 4))
    children = {
        labels[place]: [labels[child] for child in chance.sample(range(place), min(place, chance.randint(0, fan)))]
        for place in range(size)
    }
    return {label: children[label] for label in chance.sample(range(size), size)}, size


def reachable(children, starts):
    """Return what can be reached, the slow and obvious way."""
    found = set(starts)
    while more := {child for parent in found for child in children.get(parent, ())} - found:
        found |= more
    return found
