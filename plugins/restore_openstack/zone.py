"""Availability zones: an original one means nothing to the target, and one that is given must be there."""

from __future__ import annotations

from typing import Any

from restore_openstack.lookups import offer
from restore_worker.plugin import Report, Selection, Target
from restore_worker.resource import Resource

_PARAMETER = "restore_availability_zone"


def zone_of(resource: Resource, original: str | None, selection: Selection, report: Report) -> str | None:
    """Return the zone to ask the target for, None for its default one; ``original`` is the old one."""
    mapped = selection.mapped("zone", original, resource, "availability_zone", parameter=_PARAMETER)
    if mapped is not None:
        return mapped.value
    if not original:
        return None
    match selection.policy("zone"):
        case "same":
            return original
        case "fail":
            report.problem("availability_zone", f"no rule of the site map speaks of zone {original!r}", "add one")
        case "default":
            selection.by_policy("zone", resource, "availability_zone", original, None)
        case _:
            report.finding(
                "availability_zone",
                f"it was in zone {original!r}; the target's default zone is used",
                "restore_availability_zone names another",
            )
    return None


def check_server_zone(zone: str | None, target: Target, report: Report) -> None:
    """Tell unless Nova can place servers in the zone; None is its default one."""
    if zone is not None:
        zones = target.look("zones of Nova", lambda: list(target.connection().compute.availability_zones()))
        known = [each.name for each in zones if each.state["available"]]
        # Admins may name a host too.
        _check("Nova", zone.partition(":")[0], known, "openstack availability zone list --compute", report)


def check_volume_zone(zone: str | None, target: Target, report: Report) -> None:
    """Tell unless Cinder can place volumes in the zone; None is its default one."""
    if zone is not None:
        # Its types have a proxy of version 2 among them, which has no zones.
        cinder: Any = target.connection().block_storage
        zones = target.look("zones of Cinder", lambda: list(cinder.availability_zones()))
        known = [each.name for each in zones if each.state["available"]]
        _check("Cinder", zone, known, "openstack availability zone list --volume", report)


def _check(service: str, zone: str, known: list[str], command: str, report: Report) -> None:
    if zone not in known:
        mend = offer(_PARAMETER, known, command)
        report.problem(_PARAMETER, f"{service} has no zone {zone!r} in service", mend)
