"""What is written to Redis when a restore is submitted; the key map is in `restore_worker.ledger`."""

from __future__ import annotations

import json
from typing import Any, cast

from redis.client import Pipeline

from restore_worker.earlier import fingerprint
from restore_worker.entries import NewRestore, Node
from restore_worker.ledger_reader import DUE, RESTORES, keys_of
from restore_worker.states import ResourceState, RestoreState


def write_down(transaction: Pipeline, new: NewRestore, now: float, look_at: float) -> None:
    """Add to the transaction all that is written of a new restore.

    now: its creation; look_at: when the reconciler looks whether it has moved; both in seconds since 1970.
    """
    keys = keys_of(new.id)
    parents: dict[int, list[int]] = {}
    progress: dict[str, str | int] = {}
    for index, children in enumerate(new.children):
        progress[f"{index}.state"] = ResourceState.PLANNED if children else ResourceState.READY
        progress[f"{index}.needs"] = len(children)
        for child in children:
            parents.setdefault(child, []).append(index)
    transaction.hset(keys["record"], mapping=cast("Any", _record(new, now)))
    transaction.hset(keys["progress"], mapping=cast("Any", progress))
    if parents:
        joined = {str(child): ",".join(map(str, indices)) for child, indices in parents.items()}
        transaction.hset(keys["parents"], mapping=cast("Any", joined))
    transaction.hset(keys["nodes"], mapping=cast("Any", {node.index: _dump_node(node) for node in new.nodes}))
    transaction.hset(keys["work"], mapping=cast("Any", dict(enumerate(new.work))))
    transaction.xadd(keys["events"], {"event": RestoreState.PENDING, "resource": ""})
    transaction.zadd(RESTORES, {new.id: now})
    transaction.zadd(DUE, {f"{new.id}/": look_at})


def _record(new: NewRestore, now: float) -> dict[str, str | int | float]:
    return {
        "checkpoint": new.checkpoint,
        "plan": new.plan,
        "bank": new.bank,
        "digest": new.digest,
        "cloud": new.cloud,
        "identity": new.identity,
        "wants_stack": int(new.wants_stack),
        "description": new.description,
        "state": RestoreState.PENDING,
        "reason": "",
        "created": now,
        "updated": now,
        "epoch": 1,
        "size": len(new.nodes),
        "left": len(new.nodes),
        "failed": 0,
        "leaves": ",".join(str(index) for index, children in enumerate(new.children) if not children),
        "types": ",".join(sorted({node.type for node in new.nodes})),
        "findings": new.findings,
        "fingerprint": fingerprint(new.nodes),
        "key": new.key,
        "allow_projects": "" if new.allow_projects is None else json.dumps(list(new.allow_projects)),
    }


def _dump_node(node: Node) -> str:
    return json.dumps([node.type, node.id, node.name, node.queue])
