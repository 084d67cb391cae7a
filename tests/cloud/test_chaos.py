"""Restores while the APIs of Heat, Cinder and Glance are killed at random moments, by seed: `make chaos-cloud`."""

from __future__ import annotations

import signal
import time
from random import Random

import pytest

from restore_worker import restore
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.cloud.openstack_cloud import processes
from tests.cloud.openstack_cloud.cloud import Cloud
from tests.cloud.restoring import SECONDS, Restoring, noted
from tests.cloud.small import Small
from tests.support.processes import wait_until

# Not Nova's: its fake hypervisor is for other tests. Not Keystone's: what is asked of all is asked of it first.
KILLED = ("heat-api", "cinder-api", "glance")
RUNS = 8
# How often a restore may fail for what was killed under Heat, and be resumed.
RESUMES = 3


def strike(cloud: Cloud, submitted: restore.Restore, random: Random) -> None:
    """Kill a few services, one after the other, and start each again."""
    for _ in range(random.randint(2, 5)):
        # The moment is drawn: a small restore takes half a minute.
        time.sleep(random.uniform(0, 8))
        if submitted.status.state in FINAL_RESTORE_STATES:
            return
        name = random.choice(KILLED)
        processes.send(cloud.site, [name], signal.SIGKILL)
        time.sleep(random.uniform(0, 4))
        cloud.start(name)


def assert_whole(restoring: Restoring, submitted: restore.Restore, application: Small) -> None:
    """One stack, one of everything, and nothing that the restore does not know."""
    connection, name = restoring.connection, application.checkpoint.plan_name
    query = {"tags": f"restore:{submitted.id}", "show_deleted": "true"}
    stacks = connection.orchestration.get("/stacks", params=query).json()["stacks"]
    assert [each["id"] for each in stacks] == [noted(submitted).id]
    known = {each.id for each in submitted.belongings}
    volumes = [each for each in connection.block_storage.volumes() if (each.name or "").startswith(name)]
    servers = [each for each in connection.compute.servers() if each.name.startswith(name)]
    images = restoring.images(submitted)
    assert [len(images), len(volumes), len(servers)] == [1, 1, 1]
    assert {each.id for each in [*images, *volumes, *servers, *restoring.volumes(submitted)]} <= known
    assert servers[0].status == "ACTIVE"


def see_to_the_end(restoring: Restoring, submitted: restore.Restore) -> None:
    """Wait for the restore; if it does not come to its end, do what docs/operations.md says, where it says so."""
    try:
        wait_until(lambda: submitted.status.state in FINAL_RESTORE_STATES, "the end of the restore", SECONDS)
    except AssertionError:
        assert given_up_by_nova(restoring, submitted)
        submitted.cancel()


def given_up_by_nova(restoring: Restoring, submitted: restore.Restore) -> bool:
    """Whether all that the stack lacks is the attachment of a volume that is free again: Cinder died as Nova did that."""
    connection = restoring.connection
    resources = connection.orchestration.get(f"/stacks/{noted(submitted).id}/resources").json()["resources"]
    lacking = [each["resource_type"] for each in resources if each["resource_status"] != "CREATE_COMPLETE"]
    volumes = [each.status for each in restoring.volumes(submitted)]
    return lacking == ["OS::Cinder::VolumeAttachment"] and volumes == ["available"]


@pytest.mark.parametrize("seed", range(1, RUNS + 1))
def test_a_restore_outlives_its_clouds_apis(worker, restoring: Restoring, cloud: Cloud, seed: int) -> None:
    random = Random(seed)
    # Until what was lost is sent again.
    worker(options=["--beat"], env={"RESTORE_LEASE_SECONDS": "5"})
    application = restoring.small()
    submitted = restoring.submit(application)
    strike(cloud, submitted, random)
    for _ in range(RESUMES):
        see_to_the_end(restoring, submitted)
        ended = submitted.status
        if ended.state is RestoreState.COMPLETE:
            break
        assert ended.state is RestoreState.CANCELLED or (ended.state is RestoreState.FAILED and ended.reason)
        submitted.resume()
    wait_until(lambda: submitted.status.state in FINAL_RESTORE_STATES, "the end of the restore", SECONDS)
    assert (submitted.status.state, submitted.status.reason) == (RestoreState.COMPLETE, "")
    assert_whole(restoring, submitted, application)
