"""The resource graph: children before parents, whatever its shape; cycles are told by their path."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.errors import GraphError
from restore_worker.graph import ResourceGraph, build_graph
from restore_worker.resource import Resource, ResourceKey
from tests.support.dags import dags, graph_of, key, node, reachable


@given(dags())
def test_children_come_before_their_parents_and_everything_once(dag):
    children, size = dag
    order = graph_of(children, size).order()
    place = {found: number for number, found in enumerate(order)}
    assert len(order) == len(place) == size
    for parent, found in children.items():
        for child in found:
            assert place[key(child)] < place[key(parent)]


@given(dags(), st.data())
def test_a_closure_is_all_that_can_be_reached(dag, data):
    children, size = dag
    starts = data.draw(st.sets(st.integers(0, size - 1), max_size=5))
    closed = graph_of(children, size).closure(map(key, starts))
    assert closed == set(map(key, reachable(children, starts)))


@given(dags(), st.data())
def test_a_restricted_graph_has_the_edges_between_what_is_left(dag, data):
    children, size = dag
    kept = data.draw(st.sets(st.integers(0, size - 1)))
    part = graph_of(children, size).restricted(frozenset(map(key, kept)))
    assert set(part.nodes) == set(map(key, kept))
    edges = {(key(parent), key(child)) for parent in kept for child in children.get(parent, ()) if child in kept}
    assert {(parent, child) for parent, found in part.children.items() for child in found} == edges
    assert all(part.children.values()), "resources without children are absent"
    assert len(part.order()) == len(kept)


@given(dags())
def test_parents_are_the_children_turned_round(dag):
    children, size = dag
    graph = graph_of(children, size)
    turned = {(parent, child) for child, found in graph.parents().items() for parent in found}
    assert turned == {(key(parent), key(child)) for parent, found in children.items() for child in found}


@given(dags(), st.data())
def test_a_cycle_is_told_by_its_path(dag, data):
    children, size = dag
    children = {parent: list(found) for parent, found in children.items()}
    start = data.draw(st.integers(0, size - 1))
    back = data.draw(st.sampled_from(sorted(reachable(children, [start]))))
    if back == start:
        back = size
        children[start].append(size)
        children[size] = []
        size += 1
    children[back].append(start)
    with pytest.raises(GraphError, match="the resource graph has a cycle: ") as raised:
        graph_of(children, size)
    path = str(raised.value).split("cycle: ")[1].split(" -> ")
    assert path[0] == path[-1]
    assert len(path) > 2
    edges = {(str(key(parent)), str(key(child))) for parent, found in children.items() for child in found}
    assert set(pairwise(path)) <= edges


def test_a_resource_that_depends_on_itself_is_refused_by_name():
    with pytest.raises(GraphError, match=r"OS::Cinder::Volume 'disk 1' \(v1\) depends on itself"):
        graph_of({1: [0, 1]}, 2)


@pytest.mark.parametrize("children", [{0: [7]}, {7: [0]}, {7: []}])
def test_an_edge_at_no_node_is_refused_by_label(children):
    with pytest.raises(GraphError, match="an edge at '7', which is no node"):
        graph_of(children, 2)


def test_the_same_resource_under_two_names_is_one_node_with_the_edges_of_both():
    other_name = Resource(key(1), "old name")
    nodes = [("a", node(0)), ("b", node(1)), ("c", other_name), ("d", node(2)), ("e", node(3))]
    graph = build_graph(nodes, [("b", ["a"]), ("c", ["d", "a"]), ("e", ["c", "b"])])
    assert list(graph.nodes) == [key(0), key(1), key(2), key(3)]
    assert graph.nodes[key(1)].name == "disk 1"
    assert graph.children == {key(1): (key(0), key(2)), key(3): (key(1),)}


def test_two_names_of_one_resource_cannot_depend_on_each_other():
    with pytest.raises(GraphError, match="depends on itself"):
        build_graph([("a", node(0)), ("b", Resource(key(0), "old name"))], [("b", ["a"])])


def test_resources_of_one_id_and_two_types_are_two_nodes():
    project, network = (
        Resource(ResourceKey(each, "p"), "") for each in ("OS::Keystone::Project", "OS::Neutron::Network")
    )
    graph = build_graph([("a", network), ("b", project)], [("b", ["a"])])
    assert graph.order() == (network.key, project.key)


def test_further_edges_come_after_the_known_ones_and_none_is_doubled():
    graph = graph_of({2: [0]}, 4).with_edges({key(2): [key(1), key(0)], key(3): [key(2), key(2)]})
    assert graph.children == {key(2): (key(0), key(1)), key(3): (key(2),)}
    assert graph.order()[-1] == key(3)


def test_further_edges_may_close_a_cycle_which_the_order_tells():
    graph = graph_of({1: [0]}, 2).with_edges({key(0): [key(1)]})
    with pytest.raises(GraphError, match=r"cycle: OS::Cinder::Volume#v[01] -> OS::Cinder::Volume#v[01] -> "):
        graph.order()


def test_the_order_of_the_checkpoint_is_kept():
    graph = graph_of({3: [2, 0, 1]}, 4)
    assert list(graph.nodes) == [key(number) for number in range(4)]
    assert graph.children == {key(3): (key(2), key(0), key(1))}


def test_an_empty_graph_is_one():
    graph = ResourceGraph({}, {})
    assert (graph.order(), graph.closure([]), graph.parents()) == ((), frozenset(), {})


CHAIN = 10_000


@pytest.mark.parametrize(
    "children",
    [
        {number: [number - 1] for number in range(1, CHAIN)},
        {CHAIN - 1: range(CHAIN - 1)},
        {number: [0] for number in range(1, CHAIN)},
        # Diamonds one upon the other: more paths than atoms in the world, few edges.
        {
            number: [number // 3 * 3 - 1] if number % 3 < 2 else [number - 1, number - 2]
            for number in range(3, CHAIN)
        },
    ],
    ids=["chain", "one parent", "one child", "diamonds"],
)
def test_any_shape_of_ten_thousand_takes_moments(children):
    started = time.monotonic()
    graph = graph_of(children, CHAIN)
    assert len(graph.order()) == CHAIN
    assert graph.closure([key(CHAIN - 1)]) == set(map(key, reachable_in_order(children, CHAIN - 1)))
    assert len(graph.restricted(graph.closure([key(CHAIN - 1)])).order()) == len(graph.closure([key(CHAIN - 1)]))
    # Linear: a tenth of a second; quadratic or exponential: minutes to ages.
    assert time.monotonic() - started < 10


def reachable_in_order(children, start):
    """The same as `reachable` where children have smaller numbers."""
    found = {start}
    for number in range(start, -1, -1):
        if number in found:
            found.update(children.get(number, ()))
    return found


def test_a_cycle_of_ten_thousand_is_told_without_recursion():
    children = {number: [(number + 1) % CHAIN] for number in range(CHAIN)}
    with pytest.raises(GraphError, match="the resource graph has a cycle: "):
        graph_of(children, CHAIN)
