"""Restores as they are written into a ledger, without a checkpoint behind them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from restore_worker.entries import QUEUE, TRANSFER_QUEUE, NewRestore, Node
from restore_worker.ledger import Ledger
from restore_worker.states import RestoreState
from tests.support.ledger_twin import LedgerTwin

AnyLedger = Ledger | LedgerTwin

# A diamond on a stalk, and one resource that stands alone: what each depends on.
DIAMOND = ((), (0,), (0,), (1, 2), ())


def node(index: int) -> Node:
    """Return the node of a resource: every third one moves bytes."""
    queue = QUEUE if index % 3 else TRANSFER_QUEUE
    return Node(index, f"Type::{index % 2}", f"id-{index}", f"näme {index}", queue)


def new_restore(children: Sequence[Sequence[int]], restore_id: str | None = None) -> NewRestore:
    """Return a restore whose resources depend on what ``children`` says by index."""
    return NewRestore(
        id=restore_id or str(uuid.uuid4()),
        checkpoint="checkpoint-1",
        plan="nightly",
        bank="file:///bank",
        cloud="target",
        description="Restore of checkpoint-1",
        nodes=[node(index) for index in range(len(children))],
        children=children,
        work=[f'{{"index": {index}}}' for index in range(len(children))],
        findings='[["Type::0","","","field","reason"]]',
    )


def record(ledger: AnyLedger, children: Sequence[Sequence[int]] = DIAMOND) -> str:
    """Write a restore down; its id."""
    new = new_restore(children)
    ledger.record(new)
    return new.id


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
