"""What is known of a restore from its events, and how well its end is foretold."""

import heapq
import random
import statistics
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.cli.tracking import Tracking
from restore_worker.entries import QUEUE, TRANSFER_QUEUE, Event, Node
from restore_worker.states import SETTLED_RESOURCE_STATES, ResourceState, RestoreState

BEGUN = datetime(2026, 11, 1, 10, tzinfo=UTC)
MEANS = {
    "OS::Neutron::Network": 1.0,
    "OS::Glance::Image": 40.0,
    "OS::Cinder::Volume": 25.0,
    "OS::Nova::Server": 2.0,
}
TYPES = list(MEANS)


def event(number, seconds, name, index=None, /, **details):
    return Event(f"{number}-0", BEGUN + timedelta(seconds=seconds), name, index, details)


def application(chance, size):
    """Return nodes and what each depends on: servers on a network, an image and volumes of their own."""
    nodes, children = [], {}
    for index in range(size):
        kind = TYPES[0] if index == 0 else chance.choices(TYPES[1:], weights=[1, 4, 3])[0]
        nodes.append(
            Node(index, kind, f"id-{index}", f"name {index}", QUEUE if MEANS[kind] < 10 else TRANSFER_QUEUE)
        )
        if kind == TYPES[3]:
            children[index] = sorted({0, *chance.choices(range(index), k=min(index, 3))})
    return nodes, children


def run(chance, nodes, children, workers):
    """Return the events of a restore by so many workers, with when each happens in seconds, and when it ends."""
    takes = {each.index: MEANS[each.type] * chance.lognormvariate(0, 0.5) for each in nodes}
    needed = {each.index: len(children.get(each.index, ())) for each in nodes}
    parents = defaultdict(list)
    for parent, below in children.items():
        for child in below:
            parents[child].append(parent)
    told = [
        (0.0, RestoreState.PENDING, None),
        (0.1, RestoreState.CHECKING, None),
        (0.2, RestoreState.RESTORING, None),
    ]
    ready, running, now = [index for index in needed if not needed[index]], [], 0.2
    while ready or running:
        while ready and len(running) < workers:
            index = ready.pop(0)
            told.append((now, ResourceState.RUNNING, index))
            heapq.heappush(running, (now + takes[index], index))
        now, index = heapq.heappop(running)
        told.append((now, ResourceState.DONE, index))
        for parent in parents[index]:
            needed[parent] -= 1
            ready += [parent] * (not needed[parent])
    return told, now


def test_the_remaining_time_is_foretold_from_a_third_on():
    errors = []
    for seed in range(20):
        chance = random.Random(seed)
        nodes, children = application(chance, chance.randint(30, 200))
        told, end = run(chance, nodes, children, workers=chance.choice([4, 8, 16]))
        tracking, numbers, seen = Tracking(nodes, children), count(), 0
        for seconds, name, index in told:
            tracking.take(event(next(numbers), seconds, name, index, attempt="1"))
            if name == ResourceState.DONE and 0.3 * len(nodes) <= tracking.settled < len(nodes):
                left = tracking.remaining(BEGUN + timedelta(seconds=seconds))
                errors.append(abs(left - (end - seconds)) / max(end - seconds, 1.0))
                seen += 1
        assert seen > 10
        assert tracking.settled == len(nodes)
    assert statistics.median(errors) <= 0.25


def test_nothing_is_foretold_before_anything_has_ended():
    nodes, children = application(random.Random(1), 10)
    tracking = Tracking(nodes, children)
    assert tracking.remaining(BEGUN) is None
    tracking.take(event(1, 0, RestoreState.RESTORING))
    tracking.take(event(2, 0, ResourceState.RUNNING, 0, attempt="1"))
    assert tracking.remaining(BEGUN) is None
    tracking.take(event(3, 1, ResourceState.DONE, 0, reason=""))
    assert tracking.remaining(BEGUN) > 0


def test_a_resumed_restore_keeps_what_was_done_alone():
    nodes, children = application(random.Random(1), 3)
    tracking = Tracking(nodes, children)
    for number, (name, index) in enumerate(
        [
            (RestoreState.RESTORING, None),
            (ResourceState.RUNNING, 0),
            (ResourceState.DONE, 0),
            (ResourceState.RUNNING, 1),
            (ResourceState.FAILED, 1),
            (ResourceState.SKIPPED, 2),
            (RestoreState.FAILED, None),
        ]
    ):
        tracking.take(event(number, number, name, index, attempt="1", reason="since"))
    assert (tracking.settled, tracking.state, tracking.reason) == (3, RestoreState.FAILED, "since")
    tracking.take(event(8, 8, RestoreState.PENDING, reason="resumed"))
    assert (tracking.settled, tracking.state) == (1, RestoreState.PENDING)
    states = [each.state for each in tracking.resources.values()]
    assert states == [ResourceState.DONE, ResourceState.PLANNED, ResourceState.PLANNED]
    assert tracking.resources[1].began is None
    assert RestoreState.FAILED not in tracking.phases


def test_what_heat_builds_is_known_with_the_reasons_of_failures_alone():
    nodes, children = application(random.Random(1), 1)
    tracking = Tracking(nodes, children)
    for number, (name, status) in enumerate(
        [("web", "CREATE_IN_PROGRESS"), ("web", "CREATE_COMPLETE"), ("port", "CREATE_FAILED")]
    ):
        tracking.take(event(number, number, "stack", name=name, status=status, reason="as Heat \x1b[2Jsays"))
    told = [(each.name, each.status, each.reason) for each in tracking.stack.values()]
    assert told == [("web", "CREATE_COMPLETE", ""), ("port", "CREATE_FAILED", "as Heat \\x1b[2Jsays")]


@given(st.lists(st.tuples(st.sampled_from([*ResourceState, "resent", "made"]), st.integers(0, 4)), max_size=40))
def test_settled_counts_what_is_settled(told):
    nodes, children = application(random.Random(1), 5)
    tracking = Tracking(nodes, children)
    for number, (name, index) in enumerate(told):
        tracking.take(event(number, number, str(name), index, attempt="1", reason=""))
    assert tracking.settled == sum(each.state in SETTLED_RESOURCE_STATES for each in tracking.resources.values())


@pytest.mark.parametrize("size", [1, 1400])
def test_a_restore_of_any_size_is_foretold_quickly(size):
    chance = random.Random(size)
    nodes, children = application(chance, size)
    told, end = run(chance, nodes, children, workers=16)
    tracking = Tracking(nodes, children)
    for number, (seconds, name, index) in enumerate(told[: len(told) // 2 + 2]):
        tracking.take(event(number, seconds, name, index, attempt="1"))
    assert tracking.settled in range(size + 1)
    assert tracking.remaining(BEGUN + timedelta(seconds=end / 2)) is None or size > 1


def test_bytes_are_those_of_this_attempt():
    nodes, children = application(random.Random(1), 1)
    tracking = Tracking(nodes, children)
    tracking.take(event(1, 1, "running", 0, attempt="1"))
    tracking.take(event(2, 2, "moved", 0, bytes="1048576"))
    assert tracking.resources[0].bytes == 1048576
    tracking.take(event(3, 3, "running", 0, attempt="2"))
    assert tracking.resources[0].bytes == 0
