"""The flavor of a restored server: as a parameter or the site map says, or the nearest that the target has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from restore_openstack.lookups import named, offer, require
from restore_worker.plugin import Report, Selection, Target
from restore_worker.resource import Resource
from restore_worker.sitemap import Shape

if TYPE_CHECKING:
    from openstack.compute.v2.flavor import Flavor
    from openstack.image.v2.image import Image

_PARAMETER = "restore_flavor_id"
_GIB = 1024**3


def flavor_of(server: Resource, original: str, selection: Selection, report: Report) -> str:
    """Return the flavor to ask the target for; ``original`` is the old one's id, which is all the bank has."""
    shape = _shape(original, selection)
    also = [shape.name] if shape and shape.name else []
    mapped = selection.mapped("flavor", original, server, "flavor", also=also, parameter=_PARAMETER)
    if mapped is not None:
        return mapped.value
    match selection.policy("flavor"):
        case "fail":
            report.problem("flavor", f"no rule of the site map speaks of flavor {original!r}", "add one")
        case "nearest":
            chosen = _nearest(original, shape, selection, report)
            selection.by_policy("flavor", server, "flavor", original, chosen)
            return chosen
    return original


def check_flavor(flavor: str, target: Target, report: Report) -> Flavor | None:
    """Return the target's flavor and claim what a server of it takes; None once the report is told."""
    known = flavors(target)
    mend = offer(_PARAMETER, (each.name for each in known), "openstack flavor list")
    found = require(flavor, known, "flavor", mend, "flavor", report)
    if found is not None:
        target.claim("compute", "cores", found.vcpus)
        target.claim("compute", "ram", found.ram)
    return found


def check_fit(flavor: Flavor, image: Image, report: Report) -> None:
    """Tell if an image of the target is too large for the flavor, as Nova compares them."""
    # Without a disk of its own, a flavor lets servers have as large a one as the image needs.
    least = max(image.min_disk or 0, -(-(image.size or 0) // _GIB))
    if 0 < flavor.disk < least:
        report.problem(
            "flavor",
            f"flavor {flavor.name!r} has a disk of {flavor.disk} GiB, and image {image.id} needs {least} GiB",
            f"set {_PARAMETER} to a larger one",
        )
    if flavor.ram < (image.min_ram or 0):
        report.problem(
            "flavor",
            f"flavor {flavor.name!r} has {flavor.ram} MiB of RAM, and image {image.id} needs {image.min_ram} MiB",
            f"set {_PARAMETER} to a larger one",
        )


def flavors(cloud: Target) -> Sequence[Flavor]:
    """Return the flavors that the project may use."""
    # Without "None" an admin would see but some of them; others may not say it, and Nova ignores it.
    return cloud.look("flavors", lambda: list(cloud.connection().compute.flavors(is_public="None")))


def _shape(original: str, selection: Selection) -> Shape | None:
    """Return what the old flavor had, from the site map or else from the cloud that it was in."""
    told = selection.site_map.source.flavors.get(original)
    if told is not None or selection.source is None:
        return told
    found = named(original, flavors(selection.source))
    return _shape_of(found[0]) if len(found) == 1 else None


def _shape_of(flavor: Flavor) -> Shape:
    return Shape(name=flavor.name, vcpus=flavor.vcpus, ram=flavor.ram, disk=flavor.disk)


def _nearest(original: str, shape: Shape | None, selection: Selection, report: Report) -> str:
    if selection.target is None:
        report.problem("flavor", "the policy `nearest` chooses among the target's flavors", "name it with --cloud")
        return original
    known = flavors(selection.target)
    if shape is None:
        if named(original, known):
            return original
        report.problem(
            "flavor",
            f"nobody tells what flavor {original!r} had",
            "add `source.flavors` with its vcpus, ram and disk to the site map, name the cloud it was in with "
            "--source-cloud, or map it",
        )
        return original
    found = shape.nearest(known)
    if found is None:
        report.problem(
            "flavor",
            f"the target has no flavor with {shape.vcpus} vCPUs, {shape.ram} MiB of RAM and {shape.disk} GiB of "
            f"disk, as {original!r} had",
            "have an admin create one, or map it to a smaller one",
        )
        return original
    return str(found.name)
