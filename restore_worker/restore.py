"""The public door: plan a restore, submit it, and see it through.

>>> from restore_worker import restore
>>> restore.submit("latest", bank="/backups/bank").wait()  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from restore_worker import admission, settings
from restore_worker import cloud as clouds
from restore_worker.bank import Bank, open_bank
from restore_worker.catalogue import resolve
from restore_worker.checkpoint import parse_checkpoint
from restore_worker.diagram import Diagram, of_graph
from restore_worker.entries import (
    QUEUE,
    TRANSFER_QUEUE,
    NewRestore,
    Node,
    Priority,
    RestoreRecord,
)
from restore_worker.errors import (
    RestoreError,
    UnknownRestoreError,
)
from restore_worker.graph import ResourceGraph
from restore_worker.parameters import RestoreParameters
from restore_worker.plan import Plan, Sites, make_plan
from restore_worker.render import Rendering, render
from restore_worker.site_draft import Asked, draft
from restore_worker.site_guesses import Guesses
from restore_worker.sitemap import PlaceSection, SiteMap, read, with_networks
from restore_worker.submitted import Restore, caller_ledger, check_sender, start
from restore_worker.target import TargetCloud

__all__ = ["Restore", "draft_site_map", "get", "graph", "list_restores", "named_bank", "plan", "submit"]

_DRILL_PREFIX = "drill-"
# What `submit` makes; anything else might be a part of other keys in Redis.
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def plan(  # noqa: PLR0913 - the choices that a command line has
    checkpoint_id: str,
    *,
    bank: str | Path | None = None,
    cloud: str | None = None,
    resources: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    parameters: RestoreParameters | None = None,
    site_map: str | Path | SiteMap | None = None,
    networks: Mapping[str, str] | None = None,
    name_prefix: str = "",
    isolated: bool = False,
    source_cloud: str | None = None,
    verify: bool = True,
) -> Rendering:
    """Return what a restore of the checkpoint would do, with its template and everything that is wrong.

    Runs in this process; nothing is built, nothing is written, and Redis is not asked.

    checkpoint_id: an id, ``latest``, ``latest:PLAN`` or ``PLAN@2020-03-05T12:00``.
    bank: directory or URL; by default the environment's ``RESTORE_BANK``.
    cloud: name of the target in clouds.yaml, which is looked at for all that the restore needs and would not find
        there; without one no cloud is asked.
    resources: ids, ``TYPE`` or ``TYPE#ID``; what they depend on is added. None for the whole checkpoint.
    skip: alike, what is left out, with all that depends on it.
    parameters: by ``TYPE`` or ``TYPE#ID``, what plugins shall do differently.
    site_map: what things are called on the target, as a YAML file or parsed; parameters go before it.
    networks: by id or name of a network of the checkpoint, the one of the target that takes its place; before the
        site map.
    name_prefix: what all names begin with that the restore gives, but those in parameters.
    isolated: plan a copy that touches nothing of what lives, as a drill makes it.
    source_cloud: name in clouds.yaml of the cloud that the checkpoint was made in, where the site map asks for
        what is not in the bank.
    verify: read all image and volume bytes in the bank, and compare their checksums.
    Raises RestoreError if bank or checkpoint cannot be read at all, or the cloud cannot be asked.
    """
    opened = named_bank(bank)
    target, source = (_looked_at(name, opened, checkpoint_id) for name in (cloud, source_cloud))
    sites = Sites(_site_map(site_map, networks), target, source, name_prefix=name_prefix, isolated=isolated)
    made = make_plan(opened, checkpoint_id, resources=resources, skip=skip, parameters=parameters, sites=sites)
    rendering = render(made, verify=verify, limits=None if target else settings.load().stack_limits)
    if target is None:
        return rendering
    inspection, fit = admission.inspected(rendering, target, wants_stack=True)
    return dataclasses.replace(
        rendering,
        hots=fit.hots or rendering.hots,
        findings=(
            *rendering.findings,
            *inspection.others,
            *admission.not_owned(made, cloud or "", source_cloud, sites),
        ),
        problems=(*rendering.problems, *inspection.errors),
    )


def submit(  # noqa: PLR0913 - the choices that a command line has
    checkpoint_id: str,
    *,
    bank: str | Path | None = None,
    cloud: str | None = None,
    export: str | Path | None = None,
    create_stack: bool = True,
    parameters: RestoreParameters | None = None,
    resources: Iterable[str] | None = None,
    site_map: str | Path | SiteMap | None = None,
    skip: Iterable[str] = (),
    networks: Mapping[str, str] | None = None,
    name_prefix: str = "",
    source_cloud: str | None = None,
    allow_projects: Iterable[str] = (),
    check: bool = True,
    force: bool = False,
    idempotency_key: str | None = None,
    ttl: timedelta | None = None,
    priority: str = Priority.NORMAL,
) -> Restore:
    """Write the restore down for the workers, and return at once.

    Without a cloud the restore is a rendering: it ends with the template, and nothing is built.

    checkpoint_id, bank, parameters, resources, skip, site_map, networks, name_prefix: as of `plan`.
    cloud: name of the target in clouds.yaml, by default the environment's ``OS_CLOUD`` if there is to be a stack.
    export: where `Restore.wait` shall write the template; a directory if there are several.
    create_stack: False to leave the stack to the user: with a cloud, what Heat cannot build is built.
    source_cloud: name in clouds.yaml of one that logs in to the checkpoint's project, if the target is another, or
        the site map asks for what is not in the bank.
    allow_projects: ids of projects whose checkpoints may be restored to the target nevertheless.
    check: look first whether the target has all that the restore needs; what cannot be seen from here, and with
        False everything, the workers look for, who do so in any case.
    force: also if another restore brought the same resources of the checkpoint to that cloud, or is about to.
    idempotency_key: a name for the request, 1 to 128 letters, digits and ``_.:/@+=-``: given again, the restore
        that was made the first time is returned, as long as it is remembered.
    ttl: makes it a drill: an isolated copy beside whatever lives there, which is deleted so long after its end.
        Without another prefix, its names begin with ``drill-``.
    priority: ``high``, ``normal`` or ``low``: where resources of several restores wait for workers, those go first
        whose restore has the higher one; of one priority, restores take turns.
    Raises RefusedError with all problems, NotOwnedError if the checkpoint is of another project than the target,
    DuplicateRestoreError if it is done already, or another RestoreError; nothing has been written then.
    """
    admission.check_key(idempotency_key)
    wanted = admission.priority_named(priority)
    cloud = cloud or (settings.load().cloud if create_stack else None) or ""
    if ttl is not None:
        admission.check_drill(ttl, stands=bool(cloud) and create_stack)
    opened = named_bank(bank)
    target, source = (_looked_at(name, opened, checkpoint_id) for name in (cloud, source_cloud))
    prefix = name_prefix or ("" if ttl is None else _DRILL_PREFIX)
    sites = Sites(_site_map(site_map, networks), target, source, name_prefix=prefix, isolated=ttl is not None)
    made = make_plan(opened, checkpoint_id, resources=resources, skip=skip, parameters=parameters, sites=sites)
    if made.problems and not (target and check):
        raise admission.refused(made, made.problems)
    new = _new_restore(made, cloud, wants_stack=bool(cloud) and create_stack, key=idempotency_key or "")
    new = dataclasses.replace(new, priority=wanted, ttl=0 if ttl is None else round(ttl.total_seconds()))
    if target:
        new = admission.with_target(new, made.checkpoint, source_cloud, allow_projects, sites.site_map)
    check_sender()
    if target and check:
        # What was restored already is in its own way.
        if not made.problems and (before := caller_ledger().recorded_before(new, force=force)):
            return Restore(before, Path(export) if export else None)
        new = admission.checked(new, made, target)
    recorded = caller_ledger().record(new, force=force)
    if recorded == new.id:
        start(new.id, 1)
    return Restore(recorded, Path(export) if export else None)


def graph(checkpoint_id: str, *, bank: str | Path | None = None) -> Diagram:
    """Return the resources of a checkpoint as a diagram; `Restore.graph` is that of a restore.

    checkpoint_id, bank: as of `plan`. Raises RestoreError if it cannot be read.
    """
    opened = named_bank(bank)
    found = resolve(opened, checkpoint_id)
    checkpoint = parse_checkpoint(found, opened.read(f"checkpoints/{found}/index.json").data)
    title = f"Checkpoint {checkpoint.id} of plan {checkpoint.plan.name or checkpoint.plan.id}"
    return of_graph(title, checkpoint.graph or ResourceGraph({}, {}))


def get(restore_id: str) -> Restore:
    """Return a restore by its id; UnknownRestoreError if there is none."""
    if not _ID.fullmatch(restore_id):
        raise UnknownRestoreError(f"{restore_id[:80]!r} is no id of a restore: `restore-worker list` shows them")
    caller_ledger().get(restore_id)
    return Restore(restore_id)


def list_restores() -> list[RestoreRecord]:
    """Return all restores that are still known, newest first."""
    return list(caller_ledger().restores())


def named_bank(bank: str | Path | None = None) -> Bank:
    """Open the bank in a directory or at a URL, by default that of the environment's ``RESTORE_BANK``.

    Raises RestoreError if there is none.
    """
    url = bank or settings.load().bank
    if not url:
        raise RestoreError("no bank is named: give its directory or URL, or set RESTORE_BANK")
    return open_bank(str(url))


def draft_site_map(
    checkpoint_id: str,
    *,
    cloud: str,
    bank: str | Path | None = None,
    resources: Iterable[str] | None = None,
    source_cloud: str | None = None,
) -> str:
    """Return a first site map for the target, in YAML, with guesses as entries and open questions as comments.

    All as of `plan`. Raises RestoreError if bank or checkpoint cannot be read, or a cloud cannot be asked.
    """
    opened = named_bank(bank)
    target, source = (_looked_at(name, opened, checkpoint_id) for name in (cloud, source_cloud))
    if target is None:
        raise RestoreError("a site map is drafted for a target: name it")
    # With anything said of volume types, the source is asked for the old ones.
    sites = Sites(SiteMap(volume_type=PlaceSection(policy="default")), target, source)
    made = make_plan(opened, checkpoint_id, resources=resources, sites=sites)
    project_id = clouds.identity(cloud).project_id
    return draft(made.checkpoint, cloud, project_id, Asked(made.questions, made.backups), Guesses(target, source))


def _looked_at(cloud: str | None, bank: Bank, checkpoint: str) -> TargetCloud | None:
    """Return a cloud of clouds.yaml, to look at; None if none is named."""
    if not cloud:
        return None
    clouds.check_cloud(cloud)
    return TargetCloud(cloud, bank, resolve(bank, checkpoint))


def _site_map(given: str | Path | SiteMap | None, networks: Mapping[str, str] | None) -> SiteMap:
    site_map = read(given) if isinstance(given, str | Path) else given or SiteMap()
    return with_networks(site_map, networks) if networks else site_map


def _new_restore(made: Plan, cloud: str, *, wants_stack: bool, key: str) -> NewRestore:
    return NewRestore(
        id=str(uuid.uuid4()),
        checkpoint=made.checkpoint.id,
        plan=made.checkpoint.plan.name,
        bank=made.bank.url,
        digest=made.digest,
        cloud=cloud,
        identity="",
        wants_stack=wants_stack,
        description=made.description,
        nodes=[
            Node(
                index,
                planned.resource.type,
                planned.resource.id,
                planned.resource.name,
                QUEUE if planned.data is None else TRANSFER_QUEUE,
            )
            for index, planned in enumerate(made.resources)
        ],
        children=[planned.children for planned in made.resources],
        work=[planned.work.model_dump_json() for planned in made.resources],
        findings=json.dumps(made.told),
        changes=json.dumps(made.changes),
        key=key,
        limits=None if cloud else settings.load().stack_limits,
    )
