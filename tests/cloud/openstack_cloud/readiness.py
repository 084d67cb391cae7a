"""Whether the services behind the APIs work. Processes and their old heartbeats prove nothing, so each is asked."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime

from tests.cloud.openstack_cloud import processes
from tests.cloud.openstack_cloud.holdings import holds
from tests.cloud.openstack_cloud.rest import Administrator
from tests.cloud.openstack_cloud.site import Site, SiteError

_HEARTBEATS = {
    "cinder": "/v3/{project}/os-services",
    "manila": "/v2/{project}/os-services",
    "nova": "/v2.1/os-services",
}
_POOLS = {"cloud@file", "cloud@far", "cloud@fake"}
# Seconds that making a share, or deleting it, may take on a busy machine.
_SHARE = 60.0


def wait(site: Site, names: Collection[str], seconds: float = 300) -> None:
    """Return once the services of these names work; SiteError once time is up. Their APIs have to run."""
    deadline = time.monotonic() + seconds
    for name in names:
        while not _works(site, name):
            if time.monotonic() > deadline:
                raise SiteError(f"{name} runs but does not work: see {processes.log(site, name)}")
            time.sleep(0.5)


def _works(site: Site, name: str) -> bool:
    component, _, kind = name.partition("-")
    try:
        admin = Administrator(site)
        if name == "heat-engine":
            return bool(admin.call("GET", "heat", "/v1/{project}/build_info"))
        if component in _HEARTBEATS and kind != "api":
            return _beats(admin, name) and _is_known(admin, name)
    except (OSError, SiteError):  # its API is not ready either
        return False
    return True


def _beats(admin: Administrator, name: str) -> bool:
    """Tell whether the service has reported itself since it was started."""
    services = admin.call("GET", name.partition("-")[0], _HEARTBEATS[name.partition("-")[0]])["services"]
    started = datetime.fromtimestamp(processes.started(admin.site, name), UTC).replace(tzinfo=None)
    return any(
        each["binary"] == name and each["updated_at"] and datetime.fromisoformat(each["updated_at"]) >= started
        for each in services
    )


def _is_known(admin: Administrator, name: str) -> bool:
    """Tell whether the schedulers have heard of what the service offers: until then they find no host for anything."""
    if name in ("cinder-volume", "cinder-scheduler"):
        pools = admin.call("GET", "cinder", "/v3/{project}/scheduler-stats/get_pools")["pools"]
        return {each["name"].partition("#")[0] for each in pools} >= _POOLS
    if name in ("manila-share", "manila-scheduler"):
        return _makes_shares(admin)
    if name == "nova-compute":
        return bool(admin.call("GET", "nova", "/v2.1/os-hypervisors")["hypervisors"])
    return True


def _makes_shares(admin: Administrator) -> bool:
    """Tell by making a share: who asks for Manila's pools too early is told for ever that there are none."""
    wanted = {"name": "readiness", "size": 1, "share_proto": "NFS", "share_type": holds(admin.site).share_type}
    made = admin.call("POST", "manila", "/v2/{project}/shares", {"share": wanted})["share"]["id"]
    status = _settled(admin, made, "creating")
    admin.call("DELETE", "manila", f"/v2/{{project}}/shares/{made}")
    return status == "available" and _settled(admin, made, "deleting") == ""


def _settled(admin: Administrator, share: str, passing: str) -> str:
    """Return the status of a share once it is no passing one, "" if it is gone."""
    deadline = time.monotonic() + _SHARE
    while True:
        shares = admin.call("GET", "manila", "/v2/{project}/shares/detail")["shares"]
        status = next((str(each["status"]) for each in shares if each["id"] == share), "")
        if status != passing or time.monotonic() > deadline:
            return status
        time.sleep(0.5)
