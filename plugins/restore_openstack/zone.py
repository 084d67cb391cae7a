"""Availability zones: an original one means nothing to the target, and one that is given must be there."""

from __future__ import annotations

from typing import Any

from restore_openstack.lookups import offer
from restore_worker.plugin import Report, Target


def tell_zone(zone: str, report: Report) -> None:
    """Tell that the original zone is given up."""
    report.finding(
        "availability_zone",
        f"it was in zone {zone!r}; the target's default zone is used unless restore_availability_zone names one",
    )


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
        mend = offer("restore_availability_zone", known, command)
        report.problem("restore_availability_zone", f"{service} has no zone {zone!r} in service: {mend}")
