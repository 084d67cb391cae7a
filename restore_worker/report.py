"""How long a restore took, and what in it, by what was noted when it happened; also once it is destroyed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from restore_worker.entries import Event, ResourceProgress
from restore_worker.states import (
    FINAL_RESTORE_STATES,
    SETTLED_RESOURCE_STATES,
    ResourceState,
    RestoreState,
)
from restore_worker.template import Fragment, fragment_name

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger

_ENDED_WELL_FROM = {RestoreState.CREATING, RestoreState.ASSEMBLING}


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in one state, in order; also that in which one that had failed or was cancelled waited for `resume`.

    seconds: None if it goes on.
    """

    state: RestoreState
    began: datetime
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ResourceTimes:
    """How one resource was restored, the last time if there were several.

    began: when a worker took it up; None if none did.
    waited: seconds from when all was there that it needs until then.
    seconds: from then to its end, whoever was at it; None if it has not ended.
    attempts: those that count.
    bytes: read from the bank; None if it has none there.
    worker: who had it last, "" if nobody.
    """

    type: str
    id: str
    name: str
    state: ResourceState
    attempts: int
    began: datetime | None
    waited: float | None
    seconds: float | None
    bytes: int | None
    worker: str


@dataclass(frozen=True, slots=True)
class StackTimes:
    """How Heat built one resource of the stack, the last time if there were several.

    name: in the template; title: what people call it.
    status: such as ``CREATE_COMPLETE``.
    began, seconds: by Heat's clock, in whole seconds; None if it has not begun, or not ended.
    """

    name: str
    type: str
    title: str
    status: str
    began: datetime | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured of a restore.

    completed: when all was restored; None if that never was.
    seconds: from submission to then, the time that a recovery takes (RTO).
    ttl: of a drill, as of `restore_worker.entries.RestoreRecord`.
    bytes: read from the bank for all resources.
    resources: in the order of the plan, every child before its parents.
    stack: in the order in which Heat began with them.
    critical_path: ids of resources of which each had to wait for the one before; the last one ended last of all.
    """

    id: str
    checkpoint: str
    plan: str
    cloud: str
    state: RestoreState
    reason: str
    ttl: int
    submitted: datetime
    completed: datetime | None
    seconds: float | None
    bytes: int
    phases: tuple[Phase, ...]
    resources: tuple[ResourceTimes, ...]
    stack: tuple[StackTimes, ...]
    critical_path: tuple[str, ...]


def report(ledger: Ledger, restore_id: str) -> Report:
    """Return what was measured of a restore so far; UnknownRestoreError if there is none."""
    record = ledger.get(restore_id)
    events = ledger.events(restore_id)
    resources, children = ledger.resources(restore_id), ledger.children(restore_id)
    runs = _runs(events, children)
    completed = _completed(events)
    return Report(
        id=record.id,
        checkpoint=record.checkpoint,
        plan=record.plan,
        cloud=record.cloud,
        state=record.state,
        reason=record.reason,
        ttl=record.ttl,
        submitted=record.created,
        completed=completed,
        seconds=_between(record.created, completed),
        bytes=sum(each.bytes or 0 for each in resources),
        phases=tuple(_phases(events)),
        resources=tuple(_times(each, runs.get(each.node.index, _Run())) for each in resources),
        stack=tuple(_stack(events, ledger.fragments(restore_id))),
        critical_path=tuple(resources[index].node.id for index in _critical_path(runs, children)),
    )


@dataclass(slots=True)
class _Run:
    """The last time that a resource was restored. ready: when all was there that it needs."""

    ready: datetime | None = None
    began: datetime | None = None
    ended: datetime | None = None
    state: str = ""


def _runs(events: Sequence[Event], children: Mapping[int, Sequence[int]]) -> dict[int, _Run]:
    runs: dict[int, _Run] = {}
    restoring: datetime | None = None
    for event in events:
        if event.index is None:
            if event.name == RestoreState.RESTORING:
                restoring = event.time
            elif event.name == RestoreState.PENDING:
                # What was not done is restored anew.
                runs = {index: run for index, run in runs.items() if run.state == ResourceState.DONE}
            continue
        if event.name == ResourceState.RUNNING:
            run = runs.setdefault(event.index, _Run())
            needed = [runs[child].ended for child in children.get(event.index, ()) if child in runs]
            run.ready = run.ready or max(filter(None, (restoring, *needed)), default=None)
            run.began = run.began or event.time
        elif event.name in tuple(SETTLED_RESOURCE_STATES):
            run = runs.setdefault(event.index, _Run())
            run.ended, run.state = event.time, event.name
    return runs


def _critical_path(runs: Mapping[int, _Run], children: Mapping[int, Sequence[int]]) -> list[int]:
    """Return the resource that was done last, before it the last one that it needed, and so on."""
    ends = {index: run.ended for index, run in runs.items() if run.ended and run.state == ResourceState.DONE}
    path: list[int] = []
    left = list(ends)
    while left:
        path.append(max(left, key=lambda index: (ends[index], index)))
        left = [child for child in children.get(path[-1], ()) if child in ends]
    return path[::-1]


def _times(progress: ResourceProgress, run: _Run) -> ResourceTimes:
    node = progress.node
    times = (run.began, _between(run.ready, run.began), _between(run.began, run.ended))
    kept = (progress.bytes, progress.worker)
    return ResourceTimes(node.type, node.id, node.name, progress.state, progress.attempts, *times, *kept)


def _moves(events: Sequence[Event]) -> list[tuple[RestoreState, datetime]]:
    """Return which states the restore came into, and when."""
    own = (each for each in events if each.index is None and each.name in tuple(RestoreState))
    return [(RestoreState(each.name), each.time) for each in own]


def _phases(events: Sequence[Event]) -> Iterator[Phase]:
    moves = _moves(events)
    for (state, began), (following, ended) in itertools.pairwise(moves):
        if state not in FINAL_RESTORE_STATES or following is RestoreState.PENDING:
            yield Phase(state, began, _between(began, ended))
    if moves and moves[-1][0] not in FINAL_RESTORE_STATES:
        yield Phase(*moves[-1], None)


def _completed(events: Sequence[Event]) -> datetime | None:
    """Return when all was restored: it may have come back to that state later, as it was not let go or deleted."""
    moves = _moves(events)
    for (before, _), (state, came) in itertools.pairwise(moves):
        if state is RestoreState.COMPLETE and before in _ENDED_WELL_FROM:
            return came
    return None


@dataclass(slots=True)
class _Built:
    """A resource of the stack, as Heat told of it."""

    status: str = ""
    began: datetime | None = None
    ended: datetime | None = None


def _stack(events: Sequence[Event], fragments: Mapping[str, Fragment]) -> Iterator[StackTimes]:
    titles = {
        fragment_name(original_id, each): (each.type, each.title or original_id)
        for original_id, each in fragments.items()
    }
    built: dict[str, _Built] = {}
    for event in events:
        status = event.details.get("status", "")
        action, _, stage = status.partition("_")
        if event.name != "stack" or event.details["name"] not in titles or action not in {"CREATE", "UPDATE"}:
            continue
        each = built.setdefault(event.details["name"], _Built())
        each.status = status
        if stage == "IN_PROGRESS":
            each.began, each.ended = _heats(event), None
        else:
            each.ended = _heats(event)
    for name, each in built.items():
        yield StackTimes(name, *titles[name], each.status, each.began, _between(each.began, each.ended))


def _heats(event: Event) -> datetime:
    """Return when it happened by Heat's clock; what an earlier version noted has only when that was seen."""
    told = event.details.get("time")
    return datetime.fromisoformat(told).replace(tzinfo=event.time.tzinfo) if told else event.time


def _between(began: datetime | None, ended: datetime | None) -> float | None:
    """Return the seconds between two times, None if one of them is not known."""
    return None if began is None or ended is None else round((ended - began).total_seconds(), 3)
