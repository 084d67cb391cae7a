"""What a resource costs Redis, counted: it must not grow, neither with the code nor with the size of a restore."""

from collections import Counter
from dataclasses import dataclass

import pytest
import redis

from benchmarks.graphs import random_graph
from restore_worker.ledger_reader import keys_of
from tests.support.wire import commands

# How often these are sent depends on time, or on how many connections there are.
_OTHERS = {"BRPOP", "XREAD", "PING", "CLIENT", "HELLO", "INFO", "CONFIG", "ECHO", "PUBLISH", "SUBSCRIBE"}
SIZES = (100, 400)


@dataclass
class Costs:
    """What one resource costs: commands by name, bytes of messages, and bytes in Redis once its restore is complete."""

    commands: dict[str, float]
    sent: float
    kept: float


@pytest.fixture(scope="module")
def costs(shared_redis, shared_worker, steps):
    """Give what a resource costs in restores of two sizes."""
    shared_worker()
    return [_costs(shared_redis, steps, size) for size in SIZES]


def _costs(url, steps, size):
    with commands(url) as seen:
        done = steps.submit(random_graph(size).children)
        assert done.wait(60).state == "complete"
    names = Counter(name.upper() for name, *_ in seen)
    with redis.Redis.from_url(url) as client:
        kept = sum(client.memory_usage(key, samples=0) or 0 for key in keys_of(done.id).values())
    return Costs(
        {name: count / size for name, count in names.items() if name not in _OTHERS},
        sum(len(each[2]) for each in seen if each[0].upper() == "LPUSH") / size,
        kept / size,
    )


def test_a_resource_asks_the_ledger_twice_and_its_chord_once(costs):
    # Claim and settle, and Celery's script that counts the chord's parts.
    _, large = costs
    assert large.commands["EVALSHA"] == pytest.approx(3, abs=0.1)
    assert large.commands["LPUSH"] == pytest.approx(1, abs=0.05)


def test_a_resource_takes_so_many_commands_and_bytes(costs):
    _, large = costs
    assert sum(large.commands.values()) <= 53.5, large
    assert large.sent <= 1760
    assert large.kept <= 1300


def test_a_large_restore_costs_a_resource_no_more_than_a_small_one(costs):
    small, large = costs
    assert sum(large.commands.values()) <= sum(small.commands.values())
    assert large.sent <= small.sent
    assert large.kept <= small.kept
