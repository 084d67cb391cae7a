"""What goes wrong on a real cloud: it is told in time, nothing is made twice, and what can be mended is gone on with."""

from __future__ import annotations

import os
import random
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from restore_worker.restore import Restore
from restore_worker.states import RestoreState
from tests.cloud import removal
from tests.cloud.disks import fill, volume_file
from tests.cloud.openstack_cloud.site import Site
from tests.cloud.restoring import Restoring, noted
from tests.cloud.small import PARAMETERS
from tests.cloud.volumes import await_backup, begin_backup, read_volume
from tests.support import banks
from tests.support.processes import wait_until

pytestmark = pytest.mark.disturbs

SECONDS = 240  # more than anything here takes on a busy machine
MIB = 2**20
GIB = 2**30
# A worker that was killed is not waited for half a minute.
HASTY = {"RESTORE_LEASE_SECONDS": "3"}
ONLY_IMAGE = {"resources": ["OS::Glance::Image"], "parameters": None}
ONLY_VOLUME = {"resources": ["OS::Cinder::Volume"], "parameters": None}


def failure(submitted: Restore) -> str:
    """Return why the restore failed."""
    record = submitted.wait(SECONDS)
    assert record.state is RestoreState.FAILED, record
    return record.reason


def complete(submitted: Restore) -> None:
    record = submitted.wait(SECONDS)
    assert record.state is RestoreState.COMPLETE, record.reason


def listed(submitted: Restore) -> set[tuple[str, str]]:
    """Return types and ids of what a user is told to be there because of the restore."""
    return {(each.type, each.id) for each in submitted.belongings}


def existing(restoring: Restoring, submitted: Restore) -> set[tuple[str, str]]:
    """Return the same of what is there."""
    stack = restoring.stack(submitted)
    built = restoring.connection.orchestration.resources(stack) if stack else ()
    return {
        *({("OS::Heat::Stack", stack.id)} if stack else ()),
        *((each.resource_type, each.physical_resource_id) for each in built if each.physical_resource_id),
        *(("OS::Glance::Image", each.id) for each in restoring.images(submitted)),
        *(("OS::Cinder::Volume", each.id) for each in restoring.volumes(submitted)),
    }


@contextmanager
def quota(service, project: str, **limits: int) -> Iterator[None]:
    """Let a project have less of what a service gives."""
    service.update_quota_set(project, **limits)
    try:
        yield
    finally:
        service.revert_quota_set(project)


@pytest.fixture(scope="module")
def backup(cloud, demo) -> Iterator[str]:
    """Give the id of a Cinder backup whose volume is gone."""
    name = "failures"
    cinder = demo.block_storage
    volume = cinder.create_volume(size=1, name=f"{name}-source")
    cinder.wait_for_status(volume, "available", ["error"], interval=0.5, wait=SECONDS)
    fill(volume_file(cloud.site.data / "cinder" / "volumes", volume.id), random.Random(name))
    found = begin_backup(demo, read_volume(demo, volume.id), f"{name}-backup")
    await_backup(demo, found)
    removal.lose(demo, name)
    yield found
    removal.remove(demo, name)


# Before anything is built


def images_ever() -> int:
    """Return how many images Glance was ever told of: it keeps a row of those that were deleted, too."""
    socket = Site.named("one").run / "mysql.sock"
    command = [
        "mariadb",
        "--no-defaults",
        "-uroot",
        f"-S{socket}",
        "-N",
        "-e",
        "SELECT COUNT(*) FROM glance.images",
    ]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_an_absent_flavor_is_told_before_a_byte_is_sent(worker, restoring: Restoring) -> None:
    application = restoring.small(flavor="no-such-flavor", image_bytes=65536)
    bank = restoring.folder / "large"
    folder = banks.write(application.checkpoint, bank)
    os.truncate(folder / banks.data_of(application.image, "data_1"), GIB)
    before = images_ever()
    worker(options=["--beat"])
    submitted = restoring.restore(application.checkpoint.id, bank=bank, parameters=PARAMETERS, check=False)
    reason = failure(submitted)
    assert reason.startswith("preflight: ")
    assert f"({application.server}), flavor: the target has no flavor 'no-such-flavor'" in reason
    assert "set restore_flavor_id to m1.small or m1.tiny" in reason
    assert images_ever() == before
    assert submitted.belongings == []
    assert restoring.stack(submitted) is None


def test_all_that_is_absent_is_told_at_once(worker, restoring: Restoring) -> None:
    absent = str(uuid.uuid4())
    application = restoring.small(flavor="no-such-flavor", key_name="nobody", public=absent, backup=absent)
    worker(options=["--beat"])
    parameters = PARAMETERS | {"OS::Cinder::Volume": {"restore_volume_type": "no-such-type"}}
    reason = failure(restoring.submit(application, parameters=parameters, check=False))
    told = reason.splitlines()
    assert len(told) == 5
    for words in (
        "no flavor 'no-such-flavor': set restore_flavor_id to",
        "no key pair 'nobody': create it",
        f"no network {absent!r}: set public_network_id",
        f"no backup {absent}",
        "no volume type 'no-such-type': set restore_volume_type to",
    ):
        assert [words in line for line in told].count(True) == 1, words


@pytest.mark.parametrize(
    ("option", "limit", "told"),
    [
        ("max_resources_per_stack", 0, "Maximum resources per stack exceeded"),
        ("max_stacks_per_tenant", 0, "maximum stacks per tenant, 0"),
    ],
)
def test_a_stack_that_heat_would_not_take_is_told_before(worker, cloud, restoring, option, limit, told) -> None:
    worker(options=["--beat"])
    with cloud.configured("heat", {"DEFAULT": {option: limit}}):
        submitted = restoring.submit(restoring.small(), check=False)
        reason = failure(submitted)
    assert reason.startswith("preflight: OS::Heat::Stack, limits: Heat of cloud demo takes no stack of ")
    assert told in reason
    assert (restoring.images(submitted), restoring.volumes(submitted)) == ([], [])


def test_an_image_beyond_the_projects_limit_is_told_before(worker, restoring: Restoring, admin, demo) -> None:
    (glance,) = admin.identity.services(type="image")
    limit = admin.identity.create_limit(
        project_id=demo.current_project_id,
        service_id=glance.id,
        region_id=demo.config.get_region_name(),
        resource_name="image_size_total",
        resource_limit=2,
    )
    worker(options=["--beat"])
    try:
        submitted = restoring.submit(restoring.small(image_bytes=3 * MIB), check=False)
        reason = failure(submitted)
    finally:
        admin.identity.delete_limit(limit)
    assert "the restore needs 4 MiB, but of 2 MiB the project has used 0 MiB: free 2 MiB" in reason
    assert restoring.images(submitted) == []


# Half-way


def test_what_a_quota_refused_is_built_once_it_is_raised(worker, restoring: Restoring, admin, demo) -> None:
    application = restoring.small(servers=2)
    last = application.checkpoint.nodes[-1]
    last.metadata["server_metadata"]["flavor"] = demo.compute.find_flavor("m1.small").id
    # Nobody takes the uploads yet.
    worker(options=["--beat"], queues="restore,reconcile")
    submitted = restoring.submit(application)
    wait_until(lambda: submitted.status.state is RestoreState.RESTORING, "the end of the preflight", SECONDS)
    # Only the second server is larger than that, so it does not matter which one Nova sees first.
    with quota(admin.compute, demo.current_project_id, ram=256):
        worker(queues="transfer")
        reason = failure(submitted)
    assert "Quota exceeded for ram" in reason
    assert last.name in reason
    stack, whole = restoring.stack(submitted), listed(submitted)
    assert (stack.status, stack.id) == ("CREATE_FAILED", noted(submitted).id)
    assert whole == existing(restoring, submitted)

    submitted.resume()
    complete(submitted)
    assert restoring.stack(submitted).id == stack.id
    assert listed(submitted) == existing(restoring, submitted)
    assert whole < listed(submitted)
    new = listed(submitted) - whole
    assert sorted(kind for kind, _ in new) == ["OS::Cinder::VolumeAttachment", "OS::Nova::Server"]
    name = application.checkpoint.plan_name
    for things, count in (
        (demo.compute.servers(), 2),
        (demo.network.networks(), 1),
        (demo.network.routers(), 1),
        (demo.block_storage.volumes(), 1),
        (demo.image.images(), 1),
    ):
        assert sum(each.name.startswith(f"{name}-") for each in things) == count


def test_what_is_gone_since_the_preflight_is_told_and_leaves_no_stack(worker, restoring: Restoring, demo) -> None:
    key = demo.compute.create_keypair(name="failures-key")
    application = restoring.small(key_name=key.name)
    try:
        # Nobody takes the uploads yet.
        worker(options=["--beat"], queues="restore,reconcile")
        submitted = restoring.submit(application)
        wait_until(lambda: submitted.status.state is RestoreState.RESTORING, "the end of the preflight", SECONDS)
    finally:
        demo.compute.delete_keypair(key)
    worker(queues="transfer")
    reason = failure(submitted)
    assert reason.startswith("Heat: cloud demo refuses when checking the stack restore-")
    assert f"server_{application.server}.properties.key_name" in reason
    assert f"The Key ({key.name}) could not be found" in reason
    assert restoring.stack(submitted) is None
    assert listed(submitted) == existing(restoring, submitted)


def test_a_name_that_nova_refuses_is_told_with_its_server(worker, restoring: Restoring) -> None:
    application = restoring.small()
    worker(options=["--beat"])
    parameters = {**PARAMETERS, "OS::Nova::Server": {"restore_name": "n" * 256}}
    submitted = restoring.submit(application, parameters=parameters)
    reason = failure(submitted)
    assert f"(server_{application.server}): " in reason
    assert "is too long" in reason
    assert restoring.stack(submitted).status == "CREATE_FAILED"
    assert listed(submitted) == existing(restoring, submitted)


# A volume that Heat makes


@contextmanager
def unreadable(cloud, backup: str) -> Iterator[None]:
    """Take what Cinder stored of a backup out of its sight."""
    (stored,) = (cloud.site.data / "cinder" / "backups").rglob(backup)
    hidden = stored.rename(cloud.site.data / f"hidden-{backup}")
    try:
        yield
    finally:
        hidden.rename(stored)


def test_a_volume_that_fails_again_and_again_leaves_no_copies(worker, cloud, restoring, demo, backup) -> None:
    worker(options=["--beat"])
    application = restoring.small(backup=backup)
    others = {each.id for each in demo.block_storage.volumes()}

    def volumes() -> list[str]:
        return [each.status for each in demo.block_storage.volumes() if each.id not in others]

    with unreadable(cloud, backup):
        submitted = restoring.submit(application, **ONLY_VOLUME)
        for failures in range(3):
            if failures:
                submitted.resume()
            reason = failure(submitted)
            assert f"(volume_{application.volume}): " in reason
            assert "error_restoring" in reason
            assert volumes() == ["error_restoring"]
    submitted.resume()
    complete(submitted)
    assert volumes() == ["available"]


# A stack that somebody else deletes


def test_a_stack_deleted_behind_our_back_is_made_again(worker, restoring: Restoring, demo, admin) -> None:
    worker(options=["--beat"])
    submitted = restoring.submit(restoring.small())
    # One that is deleted before Heat has answered is made once more.
    first = wait_until(lambda: noted(submitted).id and restoring.stack(submitted), "its stack", SECONDS)
    demo.orchestration.delete_stack(first.id)
    assert f"stack {first.name} was deleted by somebody else" in failure(submitted)
    assert restoring.stack(submitted) is None
    assert listed(submitted) == existing(restoring, submitted)

    with quota(admin.compute, demo.current_project_id, instances=0):
        submitted.resume()
        assert "Quota exceeded for instances" in failure(submitted)
    second = restoring.stack(submitted)
    demo.orchestration.delete_stack(second.id)
    wait_until(lambda: restoring.stack(submitted) is None, "its end", SECONDS)

    submitted.resume()
    complete(submitted)
    assert restoring.stack(submitted).id == noted(submitted).id
    assert len({first.id, second.id, noted(submitted).id}) == 3
    assert listed(submitted) == existing(restoring, submitted)


# What workers build themselves


def in_upload(restoring: Restoring, submitted: Restore) -> set[tuple[str, str]]:
    """Return the type and id of the one image that has not got all of its bytes."""
    (image,) = restoring.images(submitted)
    assert image.status == "saving"
    return {("image for OS::Glance::Image", image.id)}


def test_a_worker_killed_in_an_upload_leaves_one_image(worker, restoring: Restoring, cloud) -> None:
    first = worker(options=["--beat"], env=HASTY)
    submitted = restoring.submit(restoring.small(image_bytes=128 * MIB), **ONLY_IMAGE)
    wait_until(lambda: [each.status for each in restoring.images(submitted)] == ["saving"], "an upload", SECONDS)
    # Frozen, so that it does not end before the worker does.
    with cloud.frozen("glance"):
        known = listed(submitted)
        first.kill()
    assert known == listed(submitted) == in_upload(restoring, submitted)
    worker(options=["--beat"], env=HASTY)
    complete(submitted)
    (image,) = restoring.images(submitted)
    assert (image.status, image.size) == ("active", 128 * MIB)
    assert [each.id for each in submitted.belongings] == [image.id]


def test_a_worker_killed_while_its_volume_is_made_leaves_one_volume(worker, restoring: Restoring) -> None:
    first = worker(options=["--beat"], env=HASTY)
    submitted = restoring.submit(restoring.small(), **ONLY_VOLUME)
    wait_until(lambda: restoring.volumes(submitted), "a volume", SECONDS)
    first.kill()
    assert submitted.status.state is RestoreState.RESTORING
    worker(options=["--beat"], env=HASTY)
    complete(submitted)
    (volume,) = restoring.volumes(submitted)
    assert volume.status == "available"
    assert restoring.images(submitted) == []
    assert [each.id for each in submitted.belongings] == [volume.id]


@pytest.fixture
def nowhere(admin) -> Iterator[str]:
    """Give the name of a volume type that no back end has."""
    made = admin.block_storage.create_type(name="nowhere", extra_specs={"volume_backend_name": "nowhere"})
    yield made.name
    admin.block_storage.delete_type(made)


def test_a_volume_that_cinder_cannot_place_is_told_and_leaves_no_copy(nowhere, worker, restoring, admin) -> None:
    cinder = admin.block_storage
    worker(options=["--beat"])
    parameters = {"OS::Cinder::Volume": {"restore_volume_type": nowhere}}
    application = restoring.small()
    submitted = restoring.submit(application, **ONLY_VOLUME | {"parameters": parameters})
    reason = failure(submitted)
    assert f"({application.volume}): Cinder could not build volume " in reason
    assert "error: schedule allocate volume:Could not find any available weighted backend" in reason
    wait_until(lambda: restoring.volumes(submitted) == [], "the end of the volume", SECONDS)
    # The image to make it of is kept for the next attempt.
    assert [each.id for each in submitted.belongings] == [each.id for each in restoring.images(submitted)]
    cinder.update_type_extra_specs(cinder.find_type(nowhere), volume_backend_name="file")
    submitted.resume()
    complete(submitted)
    (volume,) = restoring.volumes(submitted)
    assert (volume.status, volume.volume_type) == ("available", nowhere)
    assert restoring.images(submitted) == []
