"""What real workers log: each fact once, with the restore and the resource, as JSON or on one line."""

import json
from collections import Counter
from dataclasses import replace
from itertools import dropwhile

import pytest

from restore_worker import restore
from tests.support import banks
from tests.support.processes import wait_until
from tests.support.steps import checkpoint

# 0 and 1 stand alone; 2 needs 0, 3 needs both, and 1 fails.
GRAPH = [[], [], [0], [0, 1]]
TOLD = {1: {"ends": "failed"}}


def records_of(log):
    """Return what was logged, which is all that was printed; before that Celery may say whom it runs as."""
    return [json.loads(line) for line in dropwhile(lambda line: line[:1] != "{", log.output.splitlines())]


def told(submitted, facts):
    """Return the facts of a restore as its events have them: name and resource."""
    mine = [each for each in facts if each.get("restore") == submitted.id]
    names = ("resource.", "restore.")
    return [(each["event"], each.get("resource")) for each in mine if each["event"].startswith(names)]


def happened(submitted):
    """Return the same of the ledger, but for what the submitter did."""
    ids = {each.node.index: each.node.id for each in submitted.resources}
    events = [event for event in restore.get(submitted.id).watch() if event and event.name != "pending"]
    return [(f"{'restore' if e.index is None else 'resource'}.{e.name}", ids.get(e.index)) for e in events]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_every_event_is_logged_once_as_json(pool, steps, worker):
    log = worker(pool=pool, concurrency=2, options=["--beat"], env={"RESTORE_LOG_FORM": "json"})
    submitted = steps.submit(GRAPH, TOLD)
    submitted.wait(30)
    wait_until(lambda: '"restore.failed"' in log.output, "the end is logged")
    records = records_of(log)
    assert all({"timestamp", "level", "logger", "event", "message"} <= set(each) for each in records)
    assert Counter(told(submitted, records)) == Counter(happened(submitted))
    failed = next(each for each in records if each["event"] == "resource.failed")
    assert failed["level"] == "warning"
    assert (failed["restore"], failed["resource"], failed["type"]) == (submitted.id, "s1", "Test::Step")
    assert failed["title"] == "step 1"
    assert failed["reason"]


def test_what_a_plugin_raises_is_one_record_of_its_restore_and_resource(steps, worker):
    log = worker(env={"RESTORE_LOG_FORM": "json"})
    submitted = steps.submit([[]], {0: {"ends": "broken"}})
    submitted.wait(30)
    wait_until(lambda: "plugin.broke" in log.output, "it is logged")
    records = records_of(log)
    (broken,) = (each for each in records if each["event"] == "plugin.broke")
    assert (broken["restore"], broken["resource"]) == (submitted.id, "s0")
    assert broken["exception"].startswith("Traceback")


def test_people_read_a_line_a_fact(steps, worker):
    log = worker(options=["--beat"])
    submitted = steps.submit(GRAPH, TOLD)
    submitted.wait(30)
    wait_until(lambda: "fact=restore.failed" in log.output, "the end is logged")
    (line,) = (each for each in log.output.splitlines() if "fact=resource.failed" in each)
    assert "[warning] Test::Step step 1: failed" in line
    assert f"restore={submitted.id}" in line
    assert "resource=s1" in line


def test_what_a_bank_calls_a_resource_steers_no_terminal_and_makes_no_line(steps, worker, tmp_path):
    log = worker()
    one = checkpoint([[]])
    node = replace(one.nodes[0], name="web\x1b[2J\n2026-01-01 [info] forged")
    banks.write(replace(one, nodes=(node,), edges={node.key: ()}), tmp_path / "karbor")
    restore.submit("latest", bank=tmp_path).wait(30)
    wait_until(lambda: "fact=restore.complete" in log.output, "the end is logged")
    assert "\x1b" not in log.output
    assert not any(line.startswith("2026-01-01") for line in log.output.splitlines())
    assert r"web\x1b[2J\n2026-01-01 [info] forged" in log.output
