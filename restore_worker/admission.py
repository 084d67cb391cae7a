"""Whether a restore may be: what its request, the project of its checkpoint and the target say to it.

All is found out before anything is written.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from restore_worker import cloud as clouds
from restore_worker import ownership, settings
from restore_worker.checkpoint import Checkpoint
from restore_worker.entries import NewRestore, Priority
from restore_worker.errors import CloudUnavailableError, NotOwnedError, RefusedError, RestoreError
from restore_worker.plan import Finding, Plan, Severity, Sites
from restore_worker.registry import installed
from restore_worker.render import Rendering, render
from restore_worker.sitemap import SiteMap
from restore_worker.target import TargetCloud

if TYPE_CHECKING:
    from restore_worker.inspection import Fit, Inspection

logger = logging.getLogger(__name__)

_SHORTEST_TTL = timedelta(seconds=1)
_LONGEST_TTL = timedelta(days=7)
_KEY = re.compile(r"[A-Za-z0-9_.:/@+=-]{1,128}")


def check_key(key: str | None) -> None:
    """Return if there is no idempotency key, or a usable one."""
    if key is not None and not _KEY.fullmatch(key):
        raise RestoreError(
            f"the idempotency key {key[:150]!r} is not made of 1 to 128 letters, digits and _.:/@+=-"
        )


def priority_named(name: str) -> Priority:
    """Return the priority of this name; RestoreError if there is none."""
    try:
        return Priority(name)
    except ValueError:
        raise RestoreError(f"{name!r} is no priority: take one of {', '.join(Priority)}") from None


def check_drill(ttl: timedelta, *, stands: bool) -> None:
    """Return if there may be a drill that is deleted so long after its end. stands: there will be a stack."""
    if not stands:
        raise RestoreError("a drill is built on a cloud: name one, or set OS_CLOUD")
    if not _SHORTEST_TTL <= ttl <= _LONGEST_TTL:
        raise RestoreError(f"a drill is deleted 1 second to {_LONGEST_TTL.days} days after its end, not {ttl}")
    days = settings.load().keep_days
    if ttl >= timedelta(days=days):
        raise RestoreError(f"a drill of {ttl} is forgotten before it is deleted: RESTORE_KEEP_DAYS is {days}")


def with_target(
    new: NewRestore,
    checkpoint: Checkpoint,
    source_cloud: str | None,
    allow_projects: Iterable[str],
    site_map: SiteMap,
) -> NewRestore:
    """Return the restore with the target's identity, once the checkpoint may be restored there."""
    proof = [ownership.proven(checkpoint, source_cloud)] if source_cloud else []
    allowed = [*([allow_projects] if isinstance(allow_projects, str) else allow_projects), *proof]
    try:
        found = clouds.identity(new.cloud)
    except CloudUnavailableError as error:
        # The first worker that can ask it says which it is, and compares projects. What the site map allows is
        # allowed for one project of the target alone, so until that is known, nothing.
        logger.warning("%s", error)
        return dataclasses.replace(new, allow_projects=allowed)
    allowed += ownership.allowed_by(site_map, found.project_id)
    ownership.check_owner(checkpoint, new.cloud, found.project_id, allowed)
    return dataclasses.replace(new, identity=str(found), allow_projects=allowed)


def not_owned(made: Plan, cloud: str, source_cloud: str | None, sites: Sites) -> Iterator[Finding]:
    """Yield what `submit` would say of a checkpoint of another project, unless it may be restored."""
    checkpoint = made.checkpoint
    try:
        project_id = clouds.identity(cloud).project_id
        allowed = [ownership.proven(checkpoint, source_cloud)] if source_cloud else []
        allowed += ownership.allowed_by(sites.site_map, project_id)
        ownership.check_owner(checkpoint, cloud, project_id, allowed)
    except NotOwnedError as error:
        found, _, mend = str(error).partition(": ")
        yield Finding(Severity.WARNING, "checkpoint", checkpoint.id, "", "project_id", found, mend)


def checked(new: NewRestore, made: Plan, target: TargetCloud) -> NewRestore:
    """Return the restore with what the target has to say; RefusedError with all that is in its way.

    A target that does not answer is left to the workers.
    """
    errors: list[Finding] = list(made.problems)
    others: list[Finding] = list(made.told)
    # Without an identity the cloud did not answer a moment ago.
    if new.identity:
        rendering = render(made, verify=False)
        errors = list(rendering.problems)
        try:
            inspection, fit = inspected(rendering, target, wants_stack=new.wants_stack)
        except CloudUnavailableError as error:
            logger.warning("%s; the workers will look again", error)
        else:
            errors += inspection.errors
            others += inspection.others
            new = dataclasses.replace(new, limits=fit.limits)
    if errors:
        raise refused(made, errors)
    return dataclasses.replace(new, findings=json.dumps(others))


def inspected(rendering: Rendering, target: TargetCloud, *, wants_stack: bool) -> tuple[Inspection, Fit]:
    """Look at the target for all that the planned resources need, and their stacks if there are to be some."""
    # heatclient is slow to import, and not needed without a cloud.
    from restore_worker.inspection import Fit, Inspection

    inspection, fit = Inspection(target), Fit()
    steps = ((each.resource, each.work, each.data) for each in rendering.plan.resources)
    inspection.check_credentials()
    if not inspection.errors:
        inspection.check_resources(steps, installed())
        inspection.check_quotas()
        if wants_stack and rendering.fragments:
            fit = inspection.check_stacks(rendering.fragments, rendering.plan.description)
    return inspection, fit


def refused(made: Plan, errors: Iterable[Finding]) -> RefusedError:
    """Return the error that tells all that is in the way."""
    problems = tuple(map(str, errors))
    headline = f"checkpoint {made.checkpoint.id} cannot be restored so:"
    return RefusedError("\n  ".join((headline, *problems)), problems)
