"""What the ledger holds of a restore and its resources, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NamedTuple

from restore_worker.cut import Limits
from restore_worker.states import ResourceState, RestoreState

# How a resource that was tried ends.
Outcome = Literal[ResourceState.DONE, ResourceState.FAILED]
# Queues: tasks that move image bytes can be scaled apart from those that only think.
QUEUE = "restore"
TRANSFER_QUEUE = "transfer"
# Reconciler and poller must not wait behind the backlog that they look at.
RECONCILE_QUEUE = "reconcile"
# After so long a drill that could not be deleted is deleted again, unless its whole time is shorter.
_AGAIN = timedelta(minutes=10)


class Priority(StrEnum):
    """Whose resources workers take up first, where those of several restores wait."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


# What Kombu knows them by: it takes from the smallest first. What is not of a resource has none, which is 0.
STEPS = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}


def list_of(queue: str, priority: Priority) -> str:
    """Return the list in Redis where messages of a queue and a priority wait, as Kombu calls it."""
    return f"{queue}\x06\x16{STEPS[priority]}" if STEPS[priority] else queue


@dataclass(frozen=True, slots=True)
class Node:
    """A resource of a restore, as much as it takes to send its task."""

    index: int
    type: str
    id: str
    name: str
    queue: str


@dataclass(frozen=True, slots=True)
class NewRestore:
    """What is written down at submit.

    digest: SHA-256 of the checkpoint's index, lower-case hex.
    cloud: name of the target in clouds.yaml, "" to build nothing.
    identity: which cloud that is to the submitter, as `restore_worker.cloud.Identity` writes it; "" if unknown.
    wants_stack: whether Heat shall build the template.
    nodes: by index, at least one; children of a node have smaller indices.
    children: by index, indices of what must be restored first.
    work: by index, JSON.
    findings, changes: JSON.
    key: what its caller knows the request by, "" if that is nothing.
    allow_projects: of which projects the checkpoint may be, other than the target's; None if that is no matter.
    ttl: of a drill, the seconds after its end after which it is deleted; 0 if it is none.
    limits: of one stack, as far as the submitter knows; None if all goes into one.
    priority: of its resources; its own steps go with those of high priority.
    """

    id: str
    checkpoint: str
    plan: str
    bank: str
    digest: str
    cloud: str
    identity: str
    wants_stack: bool
    description: str
    nodes: Sequence[Node]
    children: Sequence[Sequence[int]]
    work: Sequence[str]
    findings: str
    changes: str = "[]"
    key: str = ""
    allow_projects: Sequence[str] | None = None
    ttl: int = 0
    limits: Limits | None = None
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """A restore as it stands.

    digest, cloud, identity, wants_stack, key, allow_projects, ttl, limits, priority: as of `NewRestore`.
    updated: when it came into its state.
    size: resources in all; left: not settled yet; failed: failed or skipped.
    discarded: whether something that it made may be deleted already.
    fingerprint: of its resources (`restore_worker.earlier`).
    leaving: whether its deletion was begun, since it was last resumed.
    cut: of each of its stacks, the numbers of those that it waits for; () if it has one at most.
    """

    id: str
    checkpoint: str
    plan: str
    bank: str
    digest: str
    cloud: str
    identity: str
    wants_stack: bool
    description: str
    state: RestoreState
    reason: str
    created: datetime
    updated: datetime
    epoch: int
    size: int
    left: int
    failed: int
    types: tuple[str, ...]
    discarded: bool
    fingerprint: str
    key: str
    allow_projects: tuple[str, ...] | None
    ttl: int
    leaving: bool
    limits: Limits | None
    cut: tuple[tuple[int, ...], ...]
    priority: Priority

    @property
    def stacks(self) -> Mapping[int, Sequence[int]]:
        """By number (`restore_worker.hot.Hot`), which others each of its stacks waits for; all are smaller."""
        return dict(enumerate(self.cut, 1)) or {0: ()}

    @property
    def turns(self) -> int:
        """How many stacks are built one after the other."""
        turns: dict[int, int] = {}
        for number, others in self.stacks.items():
            turns[number] = 1 + max((turns[other] for other in others), default=0)
        return max(turns.values())

    @property
    def deleted_at(self) -> datetime | None:
        """When a drill is to be deleted; None if it is no drill, has not ended, or never came to a cloud."""
        if not self.ttl or not self.identity or self.state not in _DELETED_IN_TIME:
            return None
        life = timedelta(seconds=self.ttl)
        return self.updated + (min(life, _AGAIN) if self.leaving else life)


# From these a drill goes when its time is over.
_DELETED_IN_TIME = frozenset({RestoreState.COMPLETE, RestoreState.FAILED, RestoreState.CANCELLED})


@dataclass(frozen=True, slots=True)
class ResourceProgress:
    """A resource as it stands.

    until: end of a worker's lease, or of a wait; None if there is neither.
    started, ended: None if not yet.
    bytes: read from the bank for it; None if none were, or they are not whole yet.
    """

    node: Node
    state: ResourceState
    attempts: int
    reason: str
    worker: str
    until: datetime | None
    started: datetime | None
    ended: datetime | None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """How often a resource is tried before it fails for good; by_type: where a plugin says otherwise."""

    most: int
    by_type: Mapping[str, int] = field(default_factory=dict)

    def of(self, resource_type: str) -> int:
        """Return how often a resource of the type is tried."""
        return self.by_type.get(resource_type, self.most)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The resource is ours until the lease ends.

    waited: seconds since an attempt first found that there is nothing to do yet, if all did since.
    drawn: what can be sent now that this one is no more in its queue, into the chord of the epoch.
    """

    attempts: int
    node: Node
    work: str
    checkpoint: str
    bank: str
    cloud: str
    identity: str
    epoch: int
    priority: Priority
    waited: float = 0.0
    drawn: Sequence[Node] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """The restore's own step is ours until the lease ends."""

    attempts: int


@dataclass(frozen=True, slots=True)
class Held:
    """Another copy of the task has it, or it waits for something; worth another try after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """The resource has ended; ``released`` is what can be sent now, into the chord of the epoch."""

    released: Sequence[Node]
    epoch: int
    priority: Priority


@dataclass(frozen=True, slots=True)
class Idle:
    """There is nothing to do: the restore is stopped or gone, or the message is an old one."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The restore is over, after so many epochs."""

    epochs: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. id: its place in the stream, to read on from."""

    id: str
    time: datetime
    name: str
    index: int | None
    details: Mapping[str, str]


class Standing(NamedTuple):
    """A restore in a few words. updated: when it came into its state."""

    id: str
    state: RestoreState
    plan: str
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class News:
    """Something of a restore that somebody may want to hear at once.

    event: the state in which it ended, or ``stuck``: something of it was sent three times, and nobody took it up.
    seconds: when that was, since 1970, as it was written down.
    receiver: who has not heard of it yet, "" for all.
    """

    restore_id: str
    event: str
    seconds: str
    receiver: str = ""


def stack_name(restore_id: str, number: int = 0) -> str:
    """Return the name of a restore's stack; number: as of `restore_worker.hot.Hot`."""
    return f"restore-{restore_id}-{number}" if number else f"restore-{restore_id}"


@dataclass(frozen=True, slots=True)
class StackLog:
    """What is known of one stack of a restore.

    id: "" if there is none.
    status: as Heat says it, such as ``CREATE_COMPLETE``.
    seen: id of the last event that was taken over.
    outputs: JSON by name, of a complete stack.
    """

    id: str = ""
    status: str = ""
    reason: str = ""
    seen: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)


class Built(NamedTuple):
    """A resource of the stack. name: as in the template; physical_id: "" if it has none yet."""

    name: str
    type: str
    status: str
    reason: str
    physical_id: str
