"""Twenty restores at once, and two workers that can do one thing at a time each."""

from __future__ import annotations

import re
import time

import pytest

from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.cloud.restoring import Restoring
from tests.support.processes import wait_until

pytestmark = pytest.mark.disturbs

MANY = 20
SLOTS = 2
# Between two rounds of the poller.
ROUND = 5.0


def test_twenty_restores_at_once_share_two_workers(worker, restoring: Restoring, cloud) -> None:
    log = cloud.site.log / "heat-api.log"
    for options in (["--beat"], []):
        worker(concurrency=1, options=options)
    lists_before, began = lists(log), time.monotonic()
    submitted = [restoring.submit(restoring.small(image_bytes=65536, volume_bytes=65536)) for _ in range(MANY)]
    most_at_heat = 0

    def all_ended() -> bool:
        nonlocal most_at_heat
        states = [each.status.state for each in submitted]
        most_at_heat = max(most_at_heat, states.count(RestoreState.CREATING))
        return all(state in FINAL_RESTORE_STATES for state in states)

    wait_until(all_ended, "the end of all restores", 900)
    rounds = (time.monotonic() - began) / ROUND + 1
    assert [each.status.reason for each in submitted if each.status.state is not RestoreState.COMPLETE] == []
    # Who waits for Heat holds no worker.
    assert most_at_heat > SLOTS
    # One list call a round, however many restores there are.
    assert 0 < lists(log) - lists_before <= rounds
    for each in submitted:
        assert restoring.stack(each).status == "CREATE_COMPLETE"
        assert (len(restoring.images(each)), len(restoring.volumes(each))) == (1, 1)


def lists(log) -> int:
    """Return how often Heat was asked for a list of stacks."""
    return len(re.findall(r"Processing request: GET /v1/[0-9a-f]{32}/stacks$", log.read_text(), re.MULTILINE))
