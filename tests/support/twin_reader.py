"""What the ledger in memory holds, and how it is read: the doors of `restore_worker.ledger_reader`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from restore_worker.cut import Limits
from restore_worker.earlier import fingerprint
from restore_worker.entries import Built, Event, NewRestore, News, Node, ResourceProgress, RestoreRecord, StackLog
from restore_worker.errors import UnknownRestoreError
from restore_worker.hot import Hot
from restore_worker.states import SETTLED_RESOURCE_STATES, ResourceState, RestoreState
from restore_worker.template import Fragment


@dataclass(eq=False)
class Resource:
    node: Node
    work: str
    children: list[Resource]
    parents: list[Resource] = field(default_factory=list)
    state: ResourceState = ResourceState.PLANNED
    # The first thing it needs that failed.
    cause: Node | None = None
    attempts: int = 0
    reason: str = ""
    worker: str = ""
    token: str | None = None
    # Who held it when the restore was resumed, and may be at it still.
    late: str | None = None
    # End of the lease or of the wait.
    until: float | None = None
    started: float | None = None
    ended: float | None = None
    # The attempt and the worker that the events tell of.
    told: tuple[int, str] | None = None
    looks: int = 0
    sent: float = 0.0
    # When an attempt first found that there is nothing to do yet, if all did since.
    since: float | None = None
    bytes: int | None = None
    # What came into the queue in its place.
    drew: list[Resource] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return self.state in SETTLED_RESOURCE_STATES

    @property
    def released(self) -> bool:
        return all(child.settled for child in self.children)


@dataclass(eq=False)
class StackNotes:
    """What is known of a stack. began, asked: in which of the times that the restore came into a state."""

    log: StackLog = field(default_factory=StackLog)
    built: dict[str, Built] = field(default_factory=dict)
    began: int | None = None
    before: str = ""
    asked: int | None = None
    finished: int | None = None
    told: str | None = None

    def tell(self, **news: Any) -> None:
        self.log = replace(self.log, **news)


@dataclass(eq=False)
class Step:
    """What a restore itself is at: the fields of a resource that it has, too."""

    attempts: int = 0
    reason: str = ""
    token: str | None = None
    until: float | None = None
    looks: int = 0


@dataclass(eq=False)
class Turn:
    """Of a queue: what is in it, and what is ready and stands in line."""

    sent: list[Resource] = field(default_factory=list)
    line: list[Resource] = field(default_factory=list)


@dataclass(eq=False)
class Restore:
    new: NewRestore
    resources: list[Resource]
    # What could start at the beginning of this epoch.
    leaves: list[Resource]
    created: float
    updated: float
    identity: str
    findings: str
    # How often it came into a state: tells its times in one and the same apart.
    entered: int = 0
    state: RestoreState = RestoreState.PENDING
    reason: str = ""
    epoch: int = 1
    hots: dict[int, Hot] = field(default_factory=dict)
    cut: tuple[tuple[int, ...], ...] = ()
    limits: Limits | None = None
    fragments: dict[str, tuple[Node, Fragment]] = field(default_factory=dict)
    made: dict[tuple[int, str], str] = field(default_factory=dict)
    # By number; of several, that of none tells whether all were asked for.
    stacks: defaultdict[int, StackNotes] = field(default_factory=lambda: defaultdict(StackNotes))
    events: list[Event] = field(default_factory=list)
    step: Step = field(default_factory=Step)
    # By queue.
    turns: defaultdict[str, Turn] = field(default_factory=lambda: defaultdict(Turn))
    expires: float = float("inf")
    discarded: bool = False
    leaving: bool = False
    # The epoch in which it was stuck.
    stuck: int = 0

    @property
    def left(self) -> int:
        return sum(not each.settled for each in self.resources)


class TwinReader:
    """The same doors as `restore_worker.ledger_reader.LedgerReader`; ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._now = clock
        self._restores: dict[str, Restore] = {}
        # When to look at a resource, or at a restore itself (None).
        self._due: dict[tuple[str, int | None], float] = {}
        self._reconciled: float | None = None
        self._drills: set[str] = set()
        self._news: dict[News, float] = {}

    def get(self, restore_id: str) -> RestoreRecord:
        restore = self._find(restore_id)
        if restore is None:
            raise UnknownRestoreError
        new = restore.new
        return RestoreRecord(
            id=restore_id,
            checkpoint=new.checkpoint,
            plan=new.plan,
            bank=new.bank,
            digest=new.digest,
            cloud=new.cloud,
            identity=restore.identity,
            wants_stack=new.wants_stack,
            description=new.description,
            state=restore.state,
            reason=restore.reason,
            created=time_of(restore.created),
            updated=time_of(restore.updated),
            epoch=restore.epoch,
            size=len(restore.resources),
            left=restore.left,
            failed=sum(each.settled and each.state is not ResourceState.DONE for each in restore.resources),
            types=tuple(sorted({node.type for node in new.nodes})),
            discarded=restore.discarded,
            fingerprint=fingerprint(new.nodes),
            key=new.key,
            allow_projects=None if new.allow_projects is None else tuple(new.allow_projects),
            ttl=new.ttl,
            leaving=restore.leaving,
            limits=restore.limits,
            cut=restore.cut,
            priority=new.priority,
        )

    def restores(self) -> Iterator[RestoreRecord]:
        newest_first = sorted(self._restores, key=lambda each: (self._restores[each].created, each), reverse=True)
        return (self.get(each) for each in newest_first if self._find(each))

    def resources(self, restore_id: str) -> list[ResourceProgress]:
        restore = self._find(restore_id)
        return [
            ResourceProgress(
                each.node,
                each.state,
                each.attempts,
                each.reason,
                each.worker,
                *(None if when is None else time_of(when) for when in (each.until, each.started, each.ended)),
                each.bytes,
            )
            for each in (restore.resources if restore else ())
        ]

    def children(self, restore_id: str) -> dict[int, list[int]]:
        restore = self._find(restore_id)
        found = {each.node.index: each.children for each in restore.resources} if restore else {}
        return {index: [child.node.index for child in children] for index, children in found.items() if children}

    def templates(self, restore_id: str) -> tuple[Hot, ...]:
        found = (self.template(restore_id, number) for number in self.get(restore_id).stacks)
        return tuple(each for each in found if each is not None)

    def template(self, restore_id: str, number: int = 0) -> Hot | None:
        restore = self._find(restore_id)
        return restore.hots.get(number) if restore else None

    def findings(self, restore_id: str) -> str:
        restore = self._find(restore_id)
        return restore.findings if restore else "[]"

    def events(self, restore_id: str, after: str = "0-0", wait: float | None = None) -> list[Event]:  # noqa: ARG002 - nobody writes meanwhile
        restore = self._find(restore_id)
        return restore.events[int(after.split("-", maxsplit=1)[0]) :] if restore else []

    def work(self, restore_id: str) -> Iterator[tuple[ResourceProgress, str]]:
        restore = self._find(restore_id)
        works = [each.work for each in restore.resources] if restore else []
        return zip(self.resources(restore_id), works, strict=True)

    def all_made(self, restore_id: str) -> dict[int, dict[str, str]]:
        restore = self._find(restore_id)
        found: dict[int, dict[str, str]] = {}
        for (index, key), physical_id in restore.made.items() if restore else ():
            found.setdefault(index, {})[key] = physical_id
        return found

    def made(self, restore_id: str, index: int, key: str) -> str | None:
        restore = self._find(restore_id)
        return restore.made.get((index, key)) if restore else None

    def fragment(self, restore_id: str, original_id: str) -> Fragment | None:
        restore = self._find(restore_id)
        found = restore.fragments.get(original_id) if restore else None
        return found[1] if found else None

    def fragments(self, restore_id: str) -> dict[str, Fragment]:
        restore = self._find(restore_id)
        found = restore.fragments if restore else {}
        return {original_id: fragment for original_id, (_, fragment) in found.items()}

    def sent(self, restore_id: str, index: int) -> str:
        restore = self._find(restore_id)
        return str(restore.resources[index].sent if restore else 0)

    def news(self) -> list[News]:
        return [news for _, _, news in sorted((when, str(news), news) for news, when in self._news.items())]

    def drills(self) -> list[str]:
        return sorted(self._drills)

    def unreconciled_seconds(self) -> float | None:
        return None if self._reconciled is None else self._now() - self._reconciled

    def overdue(self, limit: int = 1000) -> list[tuple[str, int | None]]:
        due = [place for place, when in self._due.items() if when <= self._now()]
        return sorted(due, key=self._due.__getitem__)[:limit]

    def now(self) -> datetime:
        return time_of(self._now())

    def _find(self, restore_id: str) -> Restore | None:
        restore = self._restores.get(restore_id)
        return restore if restore is not None and restore.expires > self._now() else None


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
