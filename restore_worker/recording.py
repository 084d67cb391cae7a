"""A restore is written down once, and not beside another one of the same; for keys see `restore_worker.ledger`.

The list of all restores is watched: if another one is written down in the same moment, nothing is written, but
that one is looked at, too. What becomes of earlier ones is not: a large one notes something all the time.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
from redis.client import Pipeline

from restore_worker.earlier import Earlier, differences, fingerprint, named_before, refuse_twice
from restore_worker.entries import NewRestore, Node
from restore_worker.errors import LedgerUnavailableError
from restore_worker.ledger_reader import DRILLS, DUE, RESTORES, LedgerReader, keys_of, translated
from restore_worker.stack_ledger import StackLedger
from restore_worker.states import ResourceState, RestoreState

# Seconds for which others may come first. Of 10,000 resources the writing alone takes one, in which nobody may.
_LONGEST = 30.0
_COMPARED = ("checkpoint", "state", "cloud", "identity", "fingerprint", "key", "discarded", "ttl")


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
    own = keys_of(new.id)["record"]
    compares = bool(new.key) or _hindered(new, force=force)
    compared: set[str] = set()
    deadline = time.monotonic() + _LONGEST
    with translated(), client.pipeline(transaction=True) as transaction:
        while time.monotonic() < deadline:
            transaction.watch(RESTORES if compares else own)  # type: ignore[no-untyped-call]  # redis has few types
            if client.exists(own):
                return new.id  # written, but the answer was lost
            if compares:
                ids = cast("list[str]", client.zrange(RESTORES, 0, -1))
                unseen = [each for each in ids if each not in compared]
                named = _compare(client, reader, stacks, new, unseen, force=force)
                if named is not None:
                    return named
                compared.update(ids)
            seconds, microseconds = client.time()
            transaction.multi()
            _write(transaction, new, seconds + microseconds / 1e6, patience)
            with suppress(redis.WatchError):
                transaction.execute()
                return new.id
    raise LedgerUnavailableError(
        f"others submitted restores without a pause for {_LONGEST:.0f} s, so that this one was not written down: "
        "submit it again"
    )


def recorded_before(
    client: redis.Redis, reader: LedgerReader, stacks: StackLedger, new: NewRestore, *, force: bool
) -> str | None:
    """Do what `restore_worker.ledger.Ledger.recorded_before` says."""
    with translated():
        ids = cast("list[str]", client.zrange(RESTORES, 0, -1))
        return _compare(client, reader, stacks, new, ids, force=force)


def _compare(
    client: redis.Redis,
    reader: LedgerReader,
    stacks: StackLedger,
    new: NewRestore,
    ids: Sequence[str],
    *,
    force: bool,
) -> str | None:
    """Return the id of the restore among those with these ids that was made for the same key, None if none was."""
    earlier = list(_recorded(client, ids, new))
    named = named_before(new, earlier)
    if named is None and _hindered(new, force=force):
        alike = (each for each in earlier if not differences(new, each))
        refuse_twice(new, (_looked_into(reader, stacks, each) for each in alike))
    return named


def _hindered(new: NewRestore, *, force: bool) -> bool:
    """Say whether another restore of the same is in the way; a drill is a copy beside the living one."""
    return bool(new.cloud) and not (force or new.ttl)


def _recorded(client: redis.Redis, ids: Sequence[str], new: NewRestore) -> Iterator[Earlier]:
    """Yield what is of the same checkpoint or has the same key, as far as its record tells."""
    reading = client.pipeline(transaction=False)
    for restore_id in ids:
        reading.hmget(keys_of(restore_id)["record"], _COMPARED)
    for restore_id, values in zip(ids, reading.execute(), strict=True):
        checkpoint, state, cloud, identity, resources, key, discarded, ttl = (value or "" for value in values)
        # One that has just expired has neither.
        if checkpoint == new.checkpoint or (new.key and key == new.key):
            made = bool(discarded) or state not in {RestoreState.FAILED, RestoreState.CANCELLED}
            where = (cloud, identity, resources, key)
            yield Earlier(restore_id, RestoreState(state), checkpoint, *where, made, drill=ttl not in {"", "0"})


def _looked_into(reader: LedgerReader, stacks: StackLedger, earlier: Earlier) -> Earlier:
    """Return the same with what its record does not tell."""
    if earlier.made and earlier.fingerprint:
        return earlier
    resources = reader.resources(earlier.id)
    return dataclasses.replace(
        earlier,
        # One of an earlier version has none written down.
        fingerprint=earlier.fingerprint or fingerprint(each.node for each in resources),
        made=earlier.made
        # Heat may have been asked, or a worker have made something, without a note of it yet: notes are read last.
        or any(each.state is ResourceState.RUNNING for each in resources)
        or earlier.id in stacks.followed()
        or bool(stacks.any(earlier.id) or reader.all_made(earlier.id)),
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
    if new.ttl:
        transaction.sadd(DRILLS, new.id)


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
        "changes": new.changes,
        "fingerprint": fingerprint(new.nodes),
        "key": new.key,
        "ttl": new.ttl,
        "priority": new.priority,
        "limits": "" if new.limits is None else json.dumps(new.limits),
        "allow_projects": "" if new.allow_projects is None else json.dumps(list(new.allow_projects)),
    }


def _dump_node(node: Node) -> str:
    return json.dumps([node.type, node.id, node.name, node.queue])
