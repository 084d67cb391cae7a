"""What a restore does while a service is away, a token ends, a worker dies or means another cloud."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
import yaml

from restore_worker import restore
from restore_worker.entries import stack_name
from restore_worker.ledger_reader import keys_of
from restore_worker.states import RestoreState
from tests.cloud.openstack_cloud.site import clouds_yaml
from tests.cloud.restoring import SECONDS, Restoring, hear, noted, reach, see
from tests.support.processes import Program, wait_until

pytestmark = pytest.mark.disturbs

# Seconds that a token of Keystone lasts: enough for all but a creation that is held up.
LIFE = 25


def has_server(submitted: restore.Restore) -> bool:
    return "OS::Nova::Server" in {each.type for each in submitted.belongings}


def stacks_ever(restoring: Restoring, submitted: restore.Restore) -> list[str]:
    """Return the ids of all stacks that were made for a restore, also of those that were deleted."""
    query = {"tags": f"restore:{submitted.id}", "show_deleted": "true"}
    return [
        each["id"] for each in restoring.connection.orchestration.get("/stacks", params=query).json()["stacks"]
    ]


def complete_with_one_stack(restoring: Restoring, submitted: restore.Restore) -> None:
    reach(submitted, RestoreState.COMPLETE)
    assert stacks_ever(restoring, submitted) == [noted(submitted).id]


# Tokens


def create_for_longer_than_tokens_last(cloud, restoring: Restoring) -> restore.Restore:
    """Return a restore whose stack was held up until the token that Heat was given had expired, or failed before."""
    with cloud.frozen("nova-compute"):
        submitted = restoring.submit(restoring.small())
        see(submitted, lambda: has_server(submitted), "a server")
        begun = time.monotonic()
        wait_until(
            lambda: submitted.status.state is not RestoreState.CREATING or time.monotonic() - begun > LIFE + 5,
            "the end of the token",
            SECONDS,
        )
    return submitted


def test_heat_that_may_not_log_in_again_fails_and_the_reason_names_its_setting(worker, restoring, cloud):
    with cloud.configured("keystone", {"token": {"expiration": LIFE}}):
        worker(options=["--beat"])
        submitted = create_for_longer_than_tokens_last(cloud, restoring)
        wait_until(lambda: submitted.status.state is RestoreState.FAILED, "the failure", SECONDS)
    assert "HTTP 401" in submitted.status.reason
    assert "reauthentication_auth_method = trusts" in submitted.status.reason
    # With tokens that last, what is there is used.
    stack = noted(submitted).id
    submitted.resume()
    complete_with_one_stack(restoring, submitted)
    assert noted(submitted).id == stack


def test_heat_with_trusts_outlives_the_token(worker, restoring, cloud):
    with (
        cloud.configured("keystone", {"token": {"expiration": LIFE}}),
        cloud.configured("heat", {"DEFAULT": {"reauthentication_auth_method": "trusts"}}),
    ):
        worker(options=["--beat"])
        submitted = create_for_longer_than_tokens_last(cloud, restoring)
        assert submitted.status.state is RestoreState.CREATING
        complete_with_one_stack(restoring, submitted)


# Workers that mean another cloud


@pytest.fixture
def worker_of(worker, tmp_path) -> Callable[..., Program]:
    """Give what starts a worker in a directory of its own, whose clouds.yaml means by demo the named project."""

    def start(project: str, **env: str) -> Program:
        folder: Path = tmp_path / f"home of {project}"
        folder.mkdir()
        accounts = yaml.safe_load(clouds_yaml().read_text())["clouds"]
        (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"demo": accounts[project]}}))
        return worker(options=["--beat"], cwd=folder, env={"OS_CLIENT_CONFIG_FILE": "", **env})

    return start


def test_a_worker_that_means_another_project_leaves_the_restore_to_others(worker_of, restoring, demo, target):
    wrong = worker_of("target", RESTORE_MAX_ATTEMPTS="50")
    submitted = restoring.submit(restoring.small())
    reason = hear(submitted, "correct the worker's clouds.yaml, or stop the worker")
    assert f"process {wrong.process.pid}" in reason
    assert f"is project {target.current_project_id} of http" in reason
    assert f"but the restore is for project {demo.current_project_id} of http" in reason
    # What the other one tried counts for all of them.
    worker_of("demo", RESTORE_MAX_ATTEMPTS="50")
    complete_with_one_stack(restoring, submitted)
    assert not list(target.orchestration.stacks())
    assert not list(target.image.images(tag=f"restore:{submitted.id}"))
    assert not list(target.block_storage.volumes())


def test_with_none_that_means_the_right_one_the_restore_fails(worker_of, restoring, demo, target):
    worker_of("target", RESTORE_MAX_ATTEMPTS="2")
    submitted = restoring.submit(restoring.small())
    wait_until(lambda: submitted.status.state is RestoreState.FAILED, "the failure", SECONDS)
    reason = submitted.status.reason
    assert reason.startswith("preflight: cloud demo of this worker (")
    assert f" is project {target.current_project_id} of" in reason
    assert f" the restore is for project {demo.current_project_id} of" in reason
    assert submitted.belongings == []


# Services that are away


@contextmanager
def stopped(cloud, service: str) -> Iterator[None]:
    cloud.stop(service)
    try:
        yield
    finally:
        cloud.start(service)


def test_heat_away_before_the_creation_is_waited_for(worker, restoring, cloud):
    worker(options=["--beat"])
    submitted = restoring.submit(restoring.small())
    with ExitStack() as away:
        with cloud.frozen("cinder-volume"):
            hear(submitted, "is creating")
            away.enter_context(stopped(cloud, "heat-api"))
        assert "does not answer when looking for the stack" in hear(submitted, "cloud demo does not answer")
        assert submitted.status.state is RestoreState.CREATING
    complete_with_one_stack(restoring, submitted)


def test_heat_away_while_it_is_polled_is_waited_for(worker, restoring, cloud):
    worker(options=["--beat"])
    with cloud.frozen("nova-compute"):
        submitted = restoring.submit(restoring.small())
        see(submitted, lambda: has_server(submitted), "a server")
        with stopped(cloud, "heat-api"):
            hear(submitted, "cloud demo does not answer when listing the stacks of restores")
            assert submitted.status.state is RestoreState.CREATING
    complete_with_one_stack(restoring, submitted)


def test_heats_engine_away_while_it_is_polled_is_waited_for(worker, restoring, cloud):
    with cloud.configured("heat", {"DEFAULT": {"rpc_response_timeout": 5}}):
        worker(options=["--beat"])
        with cloud.frozen("nova-compute"):
            submitted = restoring.submit(restoring.small())
            see(submitted, lambda: has_server(submitted), "a server")
            with cloud.frozen("heat-engine"):
                hear(submitted, "cloud demo cannot answer now when listing the stacks of restores (HTTP 504)")
                assert submitted.status.state is RestoreState.CREATING
        complete_with_one_stack(restoring, submitted)


def test_a_creation_that_died_with_heats_engine_is_cancelled_and_resumed(worker, restoring, cloud):
    """Another engine does not take it up: Heat would say that it is in progress until its time is up."""
    worker(options=["--beat"])
    with cloud.frozen("nova-compute"):
        submitted = restoring.submit(restoring.small())
        see(submitted, lambda: has_server(submitted), "a server")
        with stopped(cloud, "heat-engine"):
            pass
    submitted.cancel()
    wait_until(lambda: noted(submitted).status == "CREATE_FAILED", "that Heat stops", SECONDS)
    submitted.resume()
    complete_with_one_stack(restoring, submitted)


# Workers that die, and beat that is not there


def test_a_worker_killed_between_heats_creation_and_our_note_makes_no_second_stack(
    worker, restoring, demo, redis_url
):
    soon = {"RESTORE_LEASE_SECONDS": "5"}  # until what was lost is sent again
    first = worker(options=["--beat"], env=soon)
    submitted = restoring.submit(restoring.small())
    reach(submitted, RestoreState.CREATING)
    query = {"tags": f"restore:{submitted.id}"}
    with redis.Redis.from_url(redis_url) as client:
        see(submitted, lambda: client.exists(keys_of(submitted.id)["stack"]), "that Heat is about to be asked")
        # Nobody notes anything from now on.
        client.client_pause(int(SECONDS * 1000), all=False)
        see(submitted, lambda: demo.orchestration.get("/stacks", params=query).json()["stacks"], "the stack")
        first.kill()
        client.client_unpause()
    assert noted(submitted).id == ""
    worker(options=["--beat"], env=soon)
    complete_with_one_stack(restoring, submitted)
    assert restoring.stack(submitted).name == stack_name(submitted.id)


def test_without_beat_it_is_said_that_nobody_looks(worker, restoring, cli, tmp_path):
    worker()
    submitted = restoring.submit(restoring.small())
    see(
        submitted, lambda: (stack := restoring.stack(submitted)) and stack.status == "CREATE_COMPLETE", "the stack"
    )
    # A worker looks once when it starts.
    complaint = re.compile(r"no beat for \d+ s\n")
    shown = wait_until(
        lambda: complaint.fullmatch((shown := cli("show", submitted.id, "-f", "json")).stderr) and shown,
        "the complaint",
        SECONDS,
    )
    assert json.loads(shown.stdout)["state"] == "creating"
    worker(options=["--beat"])
    complete_with_one_stack(restoring, submitted)
