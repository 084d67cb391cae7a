"""A restore is written down once, and not beside another one of the same; for keys see `restore_worker.ledger`.

What is looked at is watched: if others write there in the same moment, nothing is written, but looked at again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import redis
from redis.client import Pipeline

from restore_worker.earlier import Earlier, fingerprint, named_before, refuse_twice
from restore_worker.entries import NewRestore, Node
from restore_worker.errors import UnknownRestoreError
from restore_worker.ledger_reader import DUE, RESTORES, LedgerReader, keys_of, translated
from restore_worker.stack_ledger import StackLedger
from restore_worker.states import ResourceState, RestoreState


def record(
    client: redis.Redis,
    reader: LedgerReader,
    stacks: StackLedger,
    new: NewRestore,
    *,
    patience: float,
    force: bool,
) -> str:
    """Do what `restore_worker.ledger.Ledger.record` says."""
    hinders = bool(new.cloud) and not force
    with translated(), client.pipeline(transaction=True) as transaction:
        while True:
            try:
                transaction.watch(RESTORES)  # type: ignore[no-untyped-call]  # redis has few types
                ids = cast("list[str]", client.zrange(RESTORES, 0, -1))
                if new.id in ids:
                    return new.id  # written, but the answer was lost
                alike = _alike(client, transaction, ids, new) if hinders or new.key else ()
                earlier = [_seen(reader, stacks, each) for each in alike]
                if (named := named_before(new, earlier)) is not None:
                    return named
                if hinders:
                    refuse_twice(new, earlier)
                seconds, microseconds = client.time()
                transaction.multi()
                _write(transaction, new, seconds + microseconds / 1e6, patience)
                transaction.execute()
            except (redis.WatchError, UnknownRestoreError):
                # Somebody wrote, or one has just expired.
                continue
            return new.id


def _alike(client: redis.Redis, transaction: Pipeline, ids: list[str], new: NewRestore) -> Iterator[str]:
    """Yield, and watch, what may be the same or has the same key."""
    reading = client.pipeline(transaction=False)
    for restore_id in ids:
        reading.hmget(keys_of(restore_id)["record"], ["checkpoint", "cloud", "key"])
    for restore_id, (checkpoint, cloud, key) in zip(ids, reading.execute(), strict=True):
        if (checkpoint == new.checkpoint and cloud) or (new.key and key == new.key):
            transaction.watch(keys_of(restore_id)["record"])  # type: ignore[no-untyped-call]  # the same
            yield restore_id


def _seen(reader: LedgerReader, stacks: StackLedger, restore_id: str) -> Earlier:
    found, resources = reader.get(restore_id), reader.resources(restore_id)
    return Earlier(
        id=restore_id,
        state=found.state,
        checkpoint=found.checkpoint,
        cloud=found.cloud,
        identity=found.identity,
        # One of an earlier version has none written down.
        fingerprint=found.fingerprint or fingerprint(each.node for each in resources),
        key=found.key,
        made=found.state not in {RestoreState.FAILED, RestoreState.CANCELLED}
        or found.discarded
        or bool(stacks.get(restore_id).id or reader.all_made(restore_id))
        # Heat may have been asked, or a worker have made something, without a note of it yet.
        or restore_id in stacks.followed()
        or any(each.state is ResourceState.RUNNING for each in resources),
    )


def _write(transaction: Pipeline, new: NewRestore, now: float, patience: float) -> None:
    """Add to the transaction all that is written of a new restore; now: seconds since 1970."""
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
    transaction.zadd(DUE, {f"{new.id}/": now + patience})


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
