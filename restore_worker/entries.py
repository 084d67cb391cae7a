"""What the ledger holds of a restore and its resources, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from restore_worker.states import ResourceState, RestoreState

# How a resource that was tried ends.
Outcome = Literal[ResourceState.DONE, ResourceState.FAILED]
# Queues: tasks that move image bytes can be scaled apart from those that only think.
QUEUE = "restore"
TRANSFER_QUEUE = "transfer"
# The reconciler must not wait behind the backlog that it looks at.
RECONCILE_QUEUE = "reconcile"


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

    nodes: by index, at least one; children of a node have smaller indices.
    children: by index, indices of what must be restored first.
    work: by index, JSON.
    findings: JSON.
    """

    id: str
    checkpoint: str
    plan: str
    bank: str
    cloud: str
    description: str
    nodes: Sequence[Node]
    children: Sequence[Sequence[int]]
    work: Sequence[str]
    findings: str


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """A restore as it stands. size: resources in all; left: not settled yet; failed: failed or skipped."""

    id: str
    checkpoint: str
    plan: str
    bank: str
    cloud: str
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


@dataclass(frozen=True, slots=True)
class ResourceProgress:
    """A resource as it stands. started, ended: None if not yet."""

    node: Node
    state: ResourceState
    attempts: int
    reason: str
    worker: str
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The resource is ours until the lease ends."""

    attempts: int
    node: Node
    work: str
    checkpoint: str
    bank: str
    cloud: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Held:
    """Another copy of the task has it, or it waits for something; worth another try after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """The resource has ended; ``released`` are the parents that can start now."""

    released: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Idle:
    """There is nothing to do: the restore is stopped or gone, or the message is an old one."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. id: its place in the stream, to read on from."""

    id: str
    time: datetime
    name: str
    index: int | None
    details: Mapping[str, str]
