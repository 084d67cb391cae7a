"""What Prometheus gets of restores: counted once by one process, from the events of a real ledger."""

from __future__ import annotations

import re

import pytest
import redis
from prometheus_client import CollectorRegistry

from restore_worker.entries import Claimed
from restore_worker.ledger import Ledger
from restore_worker.metrics import QueueLook, RestoreMetrics
from restore_worker.states import ResourceState, RestoreState
from tests.support.processes import ROOT, wait_until
from tests.support.restores import DIAMOND, begin, claim, go_on, new_restore


@pytest.fixture
def ledger(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Ledger(client)


@pytest.fixture
def registry(ledger):
    return registered(ledger)


def registered(ledger):
    found = CollectorRegistry()
    found.register(RestoreMetrics(ledger, lambda queue: QueueLook(len(queue), None)))
    return found


def restored(ledger, *, fail=False):
    """Take a restore of five resources to its end; its id."""
    new = new_restore(DIAMOND)
    ledger.record(new, force=True)
    go_on(ledger, new.id)
    for index in (0, 1, 2, 4, 3):
        claim(ledger, new.id, index, f"token {index}")
        if index == 4:
            ledger.note_read(new.id, index, "token 4", 5 << 20)
        outcome = ResourceState.FAILED if fail and index == 4 else ResourceState.DONE
        ledger.settle(new.id, index, f"token {index}", outcome)
    assert ledger.move(new.id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    if fail:
        assert ledger.move(new.id, RestoreState.ASSEMBLING, RestoreState.FAILED, "damaged")
        return new.id
    assert ledger.move(new.id, RestoreState.ASSEMBLING, RestoreState.CREATING)
    assert ledger.move(new.id, RestoreState.CREATING, RestoreState.COMPLETE)
    return new.id


def sample(registry, name, **labels):
    return registry.get_sample_value(f"restore_worker_{name}", labels)


def test_ends_are_counted_once_however_often_it_is_asked(ledger, registry):
    restored(ledger)
    for _ in range(2):
        list(registry.collect())
    restored(ledger)
    restored(ledger, fail=True)
    assert sample(registry, "restores_ended_total", state="complete") == 2
    assert sample(registry, "restores_ended_total", state="failed") == 1
    assert sample(registry, "restores", state="complete") == 2
    assert sample(registry, "restores", state="pending") == 0
    assert sample(registry, "resources_ended_total", type="Type::0", outcome="done") == 8
    assert sample(registry, "resources_ended_total", type="Type::0", outcome="failed") == 1
    assert sample(registry, "restore_seconds_count") == 2
    assert sample(registry, "stack_seconds_count") == 2
    assert sample(registry, "resource_seconds_count", type="Type::0") == 9
    assert sample(registry, "transfer_bytes_count", type="Type::0") == 3
    assert sample(registry, "transfer_bytes_sum", type="Type::0") == 3 * (5 << 20)
    assert sample(registry, "leases") == 0
    assert sample(registry, "queue_messages", queue="transfer") == len("transfer")


def test_what_was_before_the_process_is_in_the_gauges_alone(ledger):
    before = restored(ledger)
    registry = registered(ledger)
    assert sample(registry, "restores", state="complete") == 1
    assert sample(registry, "restores_ended_total", state="complete") == 0
    last = sample(registry, "last_success_timestamp_seconds", plan=ledger.get(before).plan)
    assert last == pytest.approx(ledger.get(before).updated.timestamp())


def test_what_workers_hold_and_what_was_repaired(ledger, redis_url):
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "one", lease=0.01)
    registry = registered(ledger)
    assert sample(registry, "leases") == 1
    with redis.Redis.from_url(redis_url) as client:
        client.zadd("restores:due", {f"{restore_id}/0": 0, f"{restore_id}/4": 0})
    assert ledger.look(restore_id, 0) is not None
    assert ledger.look(restore_id, 4) is not None
    wait_until(lambda: isinstance(claim(ledger, restore_id, 0, "two"), Claimed), "the lease is over")
    assert sample(registry, "repairs_total", what="resource") == 2
    assert sample(registry, "retries_total", type="Type::0") == 1
    assert sample(registry, "leases") == 1
    ledger.wait(restore_id, 0, "two", 5.0, "it is being built", counts=False)
    assert sample(registry, "leases") == 0


def test_a_resumed_restore_counts_again_but_not_what_was_done(ledger, registry):
    failed = restored(ledger, fail=True)
    list(registry.collect())
    assert ledger.resume(failed) == 2
    go_on(ledger, failed)
    claim(ledger, failed, 4, "again")
    ledger.note_read(failed, 4, "again", 5 << 20)
    ledger.settle(failed, 4, "again", ResourceState.DONE)
    assert ledger.move(failed, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    assert ledger.move(failed, RestoreState.ASSEMBLING, RestoreState.COMPLETE)
    assert sample(registry, "restores_ended_total", state="failed") == 1
    assert sample(registry, "restores_ended_total", state="complete") == 1
    assert sample(registry, "resources_ended_total", type="Type::0", outcome="failed") == 1
    assert sample(registry, "resources_ended_total", type="Type::0", outcome="done") == 3


def test_what_has_expired_is_forgotten(ledger, registry, redis_url):
    gone = restored(ledger)
    list(registry.collect())
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*client.keys(f"restore:{{{gone}}}:*"))
    list(registry.collect())
    assert sample(registry, "restores", state="complete") == 0
    assert sample(registry, "restores_ended_total", state="complete") == 1


def test_the_docs_name_what_is_served(ledger, registry):
    ledger.reconciling()
    kinds = {"counter": "_total", "histogram": "", "gauge": ""}
    served = {f"{each.name}{kinds[each.type]}" for each in registry.collect()}
    table = (ROOT / "docs" / "operations.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(restore_worker_\w+)`", table, re.MULTILINE)) == served
