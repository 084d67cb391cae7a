"""Quotas: what a restore claims is held against what the project has and may have, each service asked once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from restore_worker.plan import Finding, Severity
from restore_worker.quotas import Claims, Quota, shortages
from tests.support.stub_cloud import StubCloud, stub_cloud

OF_COMPUTE = {
    "instances": ("maxTotalInstances", "totalInstancesUsed"),
    "cores": ("maxTotalCores", "totalCoresUsed"),
    "ram": ("maxTotalRAMSize", "totalRAMUsed"),
    "server_groups": ("maxServerGroups", "totalServerGroupsUsed"),
}
OF_NETWORK = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "routers": "router",
    "security_groups": "security_group",
    "security_group_rules": "security_group_rule",
    "floating_ips": "floatingip",
}
OF_VOLUME = ("volumes", "gigabytes", "snapshots", "volumes_ssd", "gigabytes_ssd")
OF_IMAGE = ("image_count_total", "image_size_total")
EVERY = (
    *(("compute", name) for name in (*OF_COMPUTE, "key_pairs")),
    *(("network", name) for name in OF_NETWORK),
    *(("volume", name) for name in OF_VOLUME),
    *(("image", name) for name in OF_IMAGE),
)


@pytest.fixture
def cloud() -> Iterator[StubCloud]:
    """Give a cloud where the project has 4 of everything."""
    with stub_cloud() as cloud:
        cloud.key_pairs = ["a", "b", "c", "d"]
        yield cloud


def limit(cloud: StubCloud, most: int) -> None:
    """Let the project have so much of everything."""
    absolute = {name: most for name, _ in OF_COMPUTE.values()} | {name: 4 for _, name in OF_COMPUTE.values()}
    cloud.quotas = {
        "compute": {"rate": [], "absolute": absolute | {"maxTotalKeypairs": most}},
        # What is reserved is as good as used.
        "network": {name: {"limit": most, "used": 3, "reserved": 1} for name in OF_NETWORK.values()},
        "volume": {name: {"limit": most, "in_use": 3, "reserved": 1} for name in OF_VOLUME},
    }
    cloud.usage = {name: {"limit": most, "usage": 4} for name in OF_IMAGE}


def told(cloud: StubCloud, claims: Claims) -> list[Finding]:
    return list(shortages(claims, cloud.connect()))


@pytest.mark.parametrize(("service", "name"), EVERY)
def test_each_quota_is_held_against_what_is_claimed_and_used(cloud, service, name):
    claims = Claims()
    for _ in range(2):
        claims.add(Quota(service, name), 3, "", passing=False)
    for most in (-1, 10):
        limit(cloud, most)
        assert told(cloud, claims) == []
    limit(cloud, 9)
    [finding] = told(cloud, claims)
    assert (finding.severity, finding.field) == (Severity.ERROR, f"quota {service}.{name}")
    unit = {"ram": " MiB", "image_size_total": " MiB", "gigabytes": " GiB", "gigabytes_ssd": " GiB"}.get(name, "")
    assert finding.found == f"the restore needs 6{unit}, but of 9{unit} the project has used 4{unit}"
    assert finding.mend.startswith(f"free 1{unit}, or have an admin raise the quota to 10{unit} (openstack ")


def test_all_that_is_exceeded_is_told_and_each_service_is_asked_once(cloud):
    claims = Claims()
    for service, name in EVERY:
        claims.add(Quota(service, name), 1, "", passing=False)
    limit(cloud, 4)
    assert {each.field for each in told(cloud, claims)} == {f"quota {'.'.join(each)}" for each in EVERY}
    asked = [each for each in cloud.calls if "limits" in each or "quota" in each or "usage" in each]
    assert len(asked) == len(set(asked)) == 4


def test_what_is_needed_once_or_for_a_while_is_not_added_up(cloud):
    claims = Claims()
    for _ in range(9):
        claims.add(Quota("compute", "key_pairs"), 1, "web", passing=False)
    for size in (1, 5, 2):
        claims.add(Quota("image", "image_size_total"), size, "", passing=True)
    claims.add(Quota("image", "image_size_total"), 1, "", passing=False)
    limit(cloud, 10)
    assert told(cloud, claims) == []
    limit(cloud, 9)
    assert [each.found for each in told(cloud, claims)] == [
        "the restore needs 6 MiB, but of 9 MiB the project has used 4 MiB"
    ]


def test_what_a_user_may_not_read_is_no_error(cloud):
    claims = Claims()
    for service, name in EVERY:
        claims.add(Quota(service, name), 1, "", passing=False)
    cloud.quotas = cloud.usage = None
    assert told(cloud, claims) == []


def test_nothing_is_asked_of_a_service_that_nothing_is_claimed_of(cloud):
    assert told(cloud, Claims()) == []
    assert cloud.calls == []
