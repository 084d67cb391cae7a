"""What tests with a real OpenStack stand on: its sites, and connections to their projects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import openstack
import pytest
from openstack.connection import Connection

from tests.cloud.openstack_cloud.cloud import Cloud
from tests.cloud.openstack_cloud.site import Site, clouds_yaml
from tests.cloud.restoring import Restoring


@pytest.fixture(scope="session", autouse=True)
def _client_config() -> Iterator[None]:
    """Have the tests, and what they start, find the clouds: admin, demo, target, admin-two, demo-two, target-two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds_yaml()))
        yield


@pytest.fixture(scope="session")
def cloud() -> Cloud:
    """Give the first site, which runs."""
    found = Cloud(Site.named("one"))
    if not found.is_up:
        pytest.fail(f"the test cloud does not run, or not all of it: `make cloud` brings it up\n{found.report()}")
    return found


@pytest.fixture(scope="session")
def second_cloud(cloud: Cloud) -> Iterator[Cloud]:
    """Give the second site; one that does not run is brought up, and stopped at the end."""
    found = Cloud(Site.named("two"))
    if found.is_up:
        yield found
        return
    try:
        found.up()
        yield found
    finally:
        found.down()


@pytest.fixture(scope="session")
def connect(cloud: Cloud) -> Iterator[Callable[[str], Connection]]:
    """Give what connects to a cloud of clouds.yaml by name."""
    connections: list[Connection] = []

    def to(name: str) -> Connection:
        connections.append(openstack.connect(cloud=name))
        return connections[-1]

    yield to
    for connection in connections:
        connection.close()


@pytest.fixture(scope="session")
def admin(connect: Callable[[str], Connection]) -> Connection:
    """Give a connection as the administrator of the first site."""
    return connect("admin")


@pytest.fixture(scope="session")
def demo(connect: Callable[[str], Connection]) -> Connection:
    """Give a connection to the project demo."""
    return connect("demo")


@pytest.fixture(scope="session")
def target(connect: Callable[[str], Connection]) -> Connection:
    """Give a connection to the project target."""
    return connect("target")


@pytest.fixture
def restoring(demo: Connection, redis_url: str, tmp_path: Path) -> Iterator[Restoring]:
    """Give what submits restores to the project demo; workers are the test's own (fixture ``worker``)."""
    found = Restoring(demo, "demo", tmp_path)
    yield found
    found.clean()
