"""Restores in a ledger without a checkpoint behind them, and short ways to work on them."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from restore_worker.entries import (
    QUEUE,
    TRANSFER_QUEUE,
    AttemptLimits,
    Claimed,
    Held,
    Idle,
    NewRestore,
    Node,
    Settled,
)
from restore_worker.ledger import Ledger
from restore_worker.states import ResourceState, RestoreState
from tests.support.ledger_twin import LedgerTwin

AnyLedger = Ledger | LedgerTwin

LONG = 1000.0
# A lease that has ended as soon as it is given.
DEAD = -10.0
# A diamond on a stalk, and one resource that stands alone: what each depends on.
DIAMOND = ((), (0,), (0,), (1, 2), ())


def node(index: int) -> Node:
    """Return the node of a resource: every third one moves bytes."""
    queue = QUEUE if index % 3 else TRANSFER_QUEUE
    return Node(index, f"Type::{index % 2}", f"id-{index}", f"näme {index}", queue)


def new_restore(children: Sequence[Sequence[int]], restore_id: str | None = None, **choices: Any) -> NewRestore:
    """Return a restore whose resources depend on what ``children`` says by index.

    choices: fields that shall be otherwise.
    """
    made = NewRestore(
        id=restore_id or str(uuid.uuid4()),
        checkpoint="checkpoint-1",
        plan="nightly",
        bank="file:///bank",
        digest="ab" * 32,
        cloud="target",
        identity="project p of http://keystone",
        wants_stack=True,
        description="Restore of checkpoint-1",
        nodes=[node(index) for index in range(len(children))],
        children=children,
        work=[f'{{"index": {index}}}' for index in range(len(children))],
        findings='[["Type::0","","","field","reason"]]',
    )
    return dataclasses.replace(made, **choices)


def record(ledger: AnyLedger, children: Sequence[Sequence[int]] = DIAMOND) -> str:
    """Write a restore down; its id."""
    return ledger.record(new_restore(children), force=True)


def begin(ledger: AnyLedger, children: Sequence[Sequence[int]] = DIAMOND) -> str:
    """Write a restore down and take it to its first resources; its id."""
    restore_id = record(ledger, children)
    go_on(ledger, restore_id)
    return restore_id


def go_on(ledger: AnyLedger, restore_id: str) -> list[int]:
    """Take a pending restore to its first resources; their indices."""
    assert ledger.move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    ready = ledger.begin(restore_id)
    assert ready is not None
    return [each.index for each in ready]


# How a restore gets into each state by the doors that workers and users have.
_ASSEMBLING = (RestoreState.CHECKING, RestoreState.RESTORING, RestoreState.ASSEMBLING)
_CREATING = (*_ASSEMBLING, RestoreState.CREATING)
_COMPLETE = (*_CREATING, RestoreState.COMPLETE)
_DISCARDING = (*_COMPLETE, RestoreState.DESTROYING, RestoreState.DISCARDING)
_FORGETTING = (*_COMPLETE, RestoreState.FORGETTING)
WAYS: dict[RestoreState, tuple[RestoreState, ...]] = {
    RestoreState.PENDING: (),
    RestoreState.CHECKING: _ASSEMBLING[:1],
    RestoreState.RESTORING: _ASSEMBLING[:2],
    RestoreState.ASSEMBLING: _ASSEMBLING,
    RestoreState.CREATING: _CREATING,
    RestoreState.COMPLETE: _COMPLETE,
    RestoreState.FAILED: (RestoreState.CHECKING, RestoreState.FAILED),
    RestoreState.CANCELLED: (RestoreState.CANCELLED,),
    RestoreState.DESTROYING: _DISCARDING[:-1],
    RestoreState.DISCARDING: _DISCARDING,
    RestoreState.DESTROYED: (*_DISCARDING, RestoreState.DESTROYED),
    RestoreState.FORGETTING: _FORGETTING,
    RestoreState.FORGOTTEN: (*_FORGETTING, RestoreState.FORGOTTEN),
}


def bring(ledger: AnyLedger, state: RestoreState) -> str:
    """Write a restore of one resource down and take it to a state; its id."""
    restore_id = record(ledger, ((),))
    for old, new in itertools.pairwise((RestoreState.PENDING, *WAYS[state])):
        if new is RestoreState.RESTORING:
            assert ledger.begin(restore_id)
            do(ledger, restore_id, 0)
        else:
            assert ledger.move(restore_id, old, new)
    assert ledger.get(restore_id).state is state
    return restore_id


@dataclass
class Ledgers:
    """Makes ledgers of one kind, and lets time pass for them."""

    make: Callable[..., AnyLedger]
    sleep: Callable[[float], None]

    def until(self, condition: Callable[[], Any], what: str) -> None:
        for _ in range(1000):
            if condition():
                return
            self.sleep(0.01)
        raise AssertionError(f"not within 10 s: {what}")


def claim(
    ledger: AnyLedger, restore_id: str, index: int, token: str = "t", lease: float = LONG, most: int = 3
) -> Claimed | Held | Settled | Idle:
    """Take a resource up."""
    limits = AttemptLimits(most)
    return ledger.claim(restore_id, index, token, lease=lease, limits=limits, worker=f"worker of {token}")


def do(
    ledger: AnyLedger, restore_id: str, index: int, state: ResourceState = ResourceState.DONE, **more: Any
) -> list[int]:
    """Claim and settle; the indices of what was released."""
    assert isinstance(claim(ledger, restore_id, index, f"token of {index}"), Claimed)
    return indices(ledger.settle(restore_id, index, f"token of {index}", state, **more))


def indices(settled: object) -> list[int]:
    """Return which resources a settled one has released."""
    assert isinstance(settled, Settled)
    return [each.index for each in settled.released]


def states(ledger: AnyLedger, restore_id: str) -> str:
    """Return the states of the resources by their first letters."""
    return "".join(each.state[:2] for each in ledger.resources(restore_id))


def snapshot(ledger: AnyLedger, restore_id: str) -> Any:
    """Return all that can be seen of a restore."""
    resources, events = ledger.resources(restore_id), ledger.events(restore_id)
    stack = ledger.stacks.get(restore_id), ledger.stacks.built(restore_id), ledger.stacks.followed()
    made = ledger.fragments(restore_id), ledger.all_made(restore_id)
    return ledger.get(restore_id), resources, events, stack, made, ledger.overdue()


def told(ledger: AnyLedger, restore_id: str) -> list[tuple[str, int | None, dict[str, str]]]:
    """Return what happened, without the times."""
    return [(each.name, each.index, dict(each.details)) for each in ledger.events(restore_id)]
