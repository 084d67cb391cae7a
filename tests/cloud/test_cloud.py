"""The test cloud does what the other tests need of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack import exceptions

from tests.cloud.openstack_cloud.services import services

pytestmark = pytest.mark.disturbs

SECONDS = 180  # more than anything here takes on a busy machine
MIB = 1 << 20


@contextmanager
def stack(demo, name: str, resources: int = 1) -> Iterator:
    """Give a stack that is complete; it is deleted at the end."""
    nothing = {f"nothing{number}": {"type": "OS::Heat::None"} for number in range(resources)}
    template = {"heat_template_version": "2018-08-31", "resources": nothing}
    heat = demo.orchestration
    made = heat.create_stack(name=name, template=template)
    try:
        yield heat.wait_for_status(made, "CREATE_COMPLETE", ["CREATE_FAILED"], interval=1, wait=SECONDS)
    finally:
        heat.delete_stack(made)
        heat.wait_for_delete(made, interval=1, wait=SECONDS)


def test_every_service_answers(cloud, admin):
    names = {service.binary for service in (*admin.block_storage.services(), *admin.compute.services())}
    expected = set(services(cloud.site))
    assert names <= expected
    assert cloud.report().count(" up ") == len(expected)
    assert admin.orchestration.get("/build_info").status_code == 200


def test_the_projects_differ_in_what_they_may_use(demo, target):
    def offered(project):
        return {each.name for each in (*project.block_storage.types(), *project.compute.flavors())}

    assert offered(demo) - offered(target) == {"premium", "m1.small"}
    assert offered(target) - offered(demo) == {"archive", "t1.small"}


def test_a_stack_is_created_and_deleted(demo):
    with stack(demo, "test-cloud-stack") as made:
        assert [each.status for each in demo.orchestration.resources(made)] == ["CREATE_COMPLETE"]
    assert made.id not in {each.id for each in demo.orchestration.stacks()}


def test_a_volume_comes_back_from_its_backup_byte_by_byte(cloud, demo):
    cinder = demo.block_storage
    ready = partial(cinder.wait_for_status, failures=["error"], interval=1, wait=SECONDS)
    content = os.urandom(MIB)
    volume = ready(cinder.create_volume(size=1, name="test-cloud-volume"), "available")
    files = cloud.site.data / "cinder" / "volumes"
    with (files / f"volume-{volume.id}").open("r+b") as file:
        file.write(content)
    backup = ready(cinder.create_backup(volume_id=volume.id, name="test-cloud-backup"), "available")
    restored = ready(cinder.create_volume(size=1, backup_id=backup.id, name="test-cloud-restored"), "available")
    with (files / f"volume-{restored.id}").open("rb") as file:
        assert file.read(MIB) == content
    for each, delete in (
        (backup, cinder.delete_backup),
        (volume, cinder.delete_volume),
        (restored, cinder.delete_volume),
    ):
        delete(each)
        cinder.wait_for_delete(each, interval=1, wait=SECONDS)


def test_a_service_is_stopped_and_started_while_the_rest_runs(cloud, demo):
    cloud.stop("heat-api")
    try:
        assert not cloud.is_up
        with pytest.raises(ConnectFailure):
            list(demo.orchestration.stacks())
        assert list(demo.compute.flavors())
    finally:
        cloud.start("heat-api")
    assert cloud.is_up
    assert isinstance(list(demo.orchestration.stacks()), list)


def test_a_service_runs_with_another_configuration_for_a_while(cloud, demo):
    with (
        cloud.configured("heat", {"DEFAULT": {"max_resources_per_stack": 1}}),
        pytest.raises(exceptions.BadRequestException, match="Maximum resources per stack exceeded"),
        stack(demo, "test-cloud-large", resources=2),
    ):
        pass
    with stack(demo, "test-cloud-large", resources=2):
        pass


def test_tokens_may_be_made_to_expire_early(cloud, connect):
    def token(connection):
        return connection.session.auth.get_access(connection.session)

    with cloud.configured("keystone", {"token": {"expiration": 60}}):
        assert token(connect("demo")).will_expire_soon(61)
    assert not token(connect("demo")).will_expire_soon(3600)


def test_an_image_larger_than_the_projects_limit_is_refused(admin, demo):
    (glance,) = admin.identity.services(type="image")
    limit = admin.identity.create_limit(
        project_id=demo.current_project_id,
        service_id=glance.id,
        region_id=demo.config.get_region_name(),
        resource_name="image_size_total",
        resource_limit=1,
    )
    try:
        with pytest.raises(exceptions.HttpException) as refused:
            demo.image.create_image(
                "test-cloud-image", data=bytes(2 * MIB), disk_format="raw", container_format="bare"
            )
        assert refused.value.status_code == 413
    finally:
        admin.identity.delete_limit(limit)
