"""Quotas of the target: whether all that a restore needs fits beside what the project has.

What counts under which quota the plugins say (`restore_worker.plugin.Target.claim`): here are services and
numbers, each service asked once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from restore_worker.plan import Finding, Severity

if TYPE_CHECKING:
    from openstack.connection import Connection

_UNITS = {"ram": "MiB", "gigabytes": "GiB", "image_size_total": "MiB"}


class Quota(NamedTuple):
    """A limit of one service for a project."""

    service: str
    name: str


class Room(NamedTuple):
    """What a project may have, and has; no limit if that is negative."""

    limit: int
    used: int


@dataclass(slots=True)
class Claims:
    """How much of which quotas the resources of one restore need."""

    _lasting: Counter[Quota] = field(default_factory=Counter)
    _passing: Counter[Quota] = field(default_factory=Counter)
    _once: set[tuple[Quota, str]] = field(default_factory=set)

    def add(self, quota: Quota, amount: int, once: str, *, passing: bool) -> None:
        """Add what `restore_worker.plugin.Target.claim` says."""
        if passing:
            self._passing[quota] = max(self._passing[quota], amount)
        elif not once or (quota, once) not in self._once:
            self._once.add((quota, once))
            self._lasting[quota] += amount

    def total(self) -> Counter[Quota]:
        """Return how much of each quota is needed at the same time."""
        return self._lasting + self._passing


def shortages(claims: Claims, connection: Connection) -> Iterator[Finding]:
    """Yield a finding for each quota that is exceeded; those that the user may not read are passed over."""
    needed = claims.total()
    for service in sorted({quota.service for quota in needed} & _READERS.keys()):
        names = {quota.name for quota in needed if quota.service == service}
        rooms = _readable(_READERS[service], connection, names)
        for name in sorted(names & rooms.keys()):
            quota, room = Quota(service, name), rooms[name]
            if 0 <= room.limit < room.used + needed[quota]:
                yield _shortage(quota, needed[quota], room)


def _shortage(quota: Quota, amount: int, room: Room) -> Finding:
    # Those of a volume type have its name behind.
    unit = next((f" {each}" for name, each in _UNITS.items() if quota.name.startswith(name)), "")
    found = f"the restore needs {amount}{unit}, but of {room.limit}{unit} the project has used {room.used}{unit}"
    command = "openstack limit set" if quota.service == "image" else "openstack quota set"
    mend = (
        f"free {room.used + amount - room.limit}{unit}, or have an admin raise the quota to "
        f"{room.used + amount}{unit} ({command})"
    )
    return Finding(Severity.ERROR, "", "", "", f"quota {quota.service}.{quota.name}", found, mend)


def _readable(
    read: Callable[[Connection, set[str]], Mapping[str, Room]], connection: Connection, names: set[str]
) -> Mapping[str, Room]:
    from openstack.exceptions import ForbiddenException, NotFoundException

    try:
        return read(connection, names)
    except (ForbiddenException, NotFoundException):
        return {}


def _compute(connection: Connection, names: set[str]) -> Mapping[str, Room]:
    limits: Any = connection.compute.get_limits().absolute
    if limits is None:
        return {}
    pairs = {
        "instances": (limits.instances, limits.instances_used),
        "cores": (limits.total_cores, limits.total_cores_used),
        "ram": (limits.total_ram, limits.total_ram_used),
        "server_groups": (limits.server_groups, limits.server_groups_used),
    }
    if "key_pairs" in names:
        # They are the user's, and Nova does not count them here.
        pairs["key_pairs"] = (limits.keypairs, len(list(connection.compute.keypairs())))
    return {name: Room(limit, used) for name, (limit, used) in pairs.items() if limit is not None}


def _volume(connection: Connection, _names: set[str]) -> Mapping[str, Room]:
    found: Any = connection.block_storage.get_quota_set(str(connection.current_project_id), usage=True)
    limits = found.to_dict()
    return {
        name: Room(limits[name], used + found.reservation.get(name, 0))
        for name, used in found.usage.items()
        if isinstance(limits.get(name), int)
    }


def _network(connection: Connection, _names: set[str]) -> Mapping[str, Room]:
    found: Any = connection.network.get_quota(str(connection.current_project_id), details=True)
    return {
        name: Room(each["limit"], each["used"] + each.get("reserved", 0))
        for name, each in found.to_dict().items()
        if isinstance(each, dict) and {"limit", "used"} <= each.keys()
    }


def _image(connection: Connection, _names: set[str]) -> Mapping[str, Room]:
    from openstack.exceptions import raise_from_response

    # openstacksdk has no call for it. What has no limit is left out.
    response = connection.image.get("/info/usage")
    raise_from_response(response)
    return {name: Room(each["limit"], each["usage"]) for name, each in response.json()["usage"].items()}


_READERS: dict[str, Callable[[Connection, set[str]], Mapping[str, Room]]] = {
    "compute": _compute,
    "volume": _volume,
    "network": _network,
    "image": _image,
}
