"""What a resource costs Redis, counted: it must not grow, neither with the code nor with the size of a restore."""

from collections import Counter

import pytest

from benchmarks.graphs import random_graph
from tests.support.wire import commands

# How often these are sent depends on time, or on how many connections there are.
_OTHERS = {"BRPOP", "XREAD", "PING", "CLIENT", "HELLO", "INFO", "CONFIG", "ECHO", "PUBLISH", "SUBSCRIBE"}
SIZES = (100, 400)


@pytest.fixture(scope="module")
def costs(shared_redis, shared_worker, steps):
    """Give for restores of two sizes how often each command was given for a resource, and the bytes of its message."""
    shared_worker()
    found = {}
    for size in SIZES:
        with commands(shared_redis) as seen:
            assert steps.submit(random_graph(size).children).wait(60).state == "complete"
        names = Counter(name.upper() for name, *_ in seen)
        counts = {name: count / size for name, count in names.items() if name not in _OTHERS}
        size_of_messages = sum(len(each[2]) for each in seen if each[0].upper() == "LPUSH")
        found[size] = counts, size_of_messages / size
    return found


def test_a_resource_asks_the_ledger_twice_and_its_chord_once(costs):
    # Claim and settle, and Celery's script that counts the chord's parts.
    counts, _ = costs[SIZES[-1]]
    assert counts["EVALSHA"] == pytest.approx(3, abs=0.1)
    assert counts["LPUSH"] == pytest.approx(1, abs=0.05)


def test_a_resource_takes_so_many_commands_and_bytes(costs):
    counts, size_of_message = costs[SIZES[-1]]
    assert sum(counts.values()) <= 53.5, counts
    assert size_of_message <= 1760


def test_a_large_restore_costs_a_resource_no_more_than_a_small_one(costs):
    (small, small_bytes), (large, large_bytes) = (costs[size] for size in SIZES)
    assert sum(large.values()) <= sum(small.values())
    assert large_bytes <= small_bytes
