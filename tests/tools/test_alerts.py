"""Prometheus takes our alert rules, they fire when they shall, and every metric that they or the dashboard name is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import redis

from restore_worker.ledger import Ledger
from restore_worker.metrics import QueueLook, RestoreMetrics
from tests.support.processes import ROOT

HERE = Path(__file__).parent
RULES = ROOT / "deploy" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana.json"


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=HERE)


def test_prometheus_takes_the_rules():
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "7 rules found" in checked.stdout


def test_they_fire_when_they_shall():
    tried = promtool("test", "rules", "alerts.yaml")
    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_all_that_they_ask_for_is_served(redis_url, file):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        ledger = Ledger(client)
        ledger.reconciling()
        found = list(RestoreMetrics(ledger, lambda _: QueueLook(0, None)).collect())
    served = {each.name for each in found} | {f"{each.name}_total" for each in found if each.type == "counter"}
    served |= {
        f"{each.name}_{end}" for each in found if each.type == "histogram" for end in ("bucket", "sum", "count")
    }
    asked = set(re.findall(r"restore_worker_\w+", file.read_text()))
    assert asked
    assert asked - served == set()


def test_the_dashboard_is_of_one_piece():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({each["id"] for each in panels}) == len(panels) >= 8
    assert all(each["targets"] and each["title"] for each in panels)
