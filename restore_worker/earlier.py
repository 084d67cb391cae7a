"""What was submitted before: whether a request means the same as an earlier one, which is still to be seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from restore_worker.entries import NewRestore, Node
from restore_worker.errors import DuplicateRestoreError
from restore_worker.states import RestoreState

_UNDER_WAY = "`restore-worker watch {id}` shows how it goes on"
_STOPPED = "`restore-worker resume {id}` goes on with it, `restore-worker destroy {id}` deletes what it made"
# What to do about an earlier restore that is not under way.
_ADVICE = {
    RestoreState.COMPLETE: "`restore-worker show {id}` lists it, `restore-worker destroy {id}` deletes it",
    RestoreState.FAILED: _STOPPED,
    RestoreState.CANCELLED: _STOPPED,
}
# Nothing of these is a restore's any more.
_OVER = {RestoreState.DESTROYED, RestoreState.FORGOTTEN}


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier restore, as much of it as it takes to tell the same one.

    fingerprint: of its resources; "", which may be the same as any, until they are read.
    made: whether something of it is on its cloud, or may come there yet.
    drill: whether it is one: those stand beside others of the same.
    """

    id: str
    state: RestoreState
    checkpoint: str
    cloud: str
    identity: str
    fingerprint: str
    key: str
    made: bool
    drill: bool = False


def fingerprint(nodes: Iterable[Node]) -> str:
    """Return a text that is the same for the same resources, whatever is to be done to them."""
    keys = sorted((node.type, node.id) for node in nodes)
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


def named_before(new: NewRestore, earlier: Iterable[Earlier]) -> str | None:
    """Return the id of the restore that was made for the request's key, None if there is none.

    Raises DuplicateRestoreError if that was another request.
    """
    for each in earlier:
        if new.key and each.key == new.key:
            _require_same(new, each)
            return each.id
    return None


def refuse_twice(new: NewRestore, earlier: Iterable[Earlier]) -> None:
    """Return unless the same is restored to the same cloud already; renderings build nothing, and always may.

    Raises DuplicateRestoreError that tells by which restore, and what to do.
    """
    for each in earlier:
        if new.cloud and not differences(new, each) and each.state not in _OVER and each.made:
            advice = _ADVICE.get(each.state, _UNDER_WAY).format(id=each.id)
            raise DuplicateRestoreError(
                f"checkpoint {new.checkpoint} is restored to cloud {new.cloud} already, by restore {each.id}, "
                f"which is {each.state}: {advice}; with --force (in Python force=True) it is restored once more"
            )


def differences(new: NewRestore, earlier: Earlier) -> list[str]:
    """Return in what a request is another one than an earlier restore was, for people."""
    known = new.identity and earlier.identity
    same_cloud = new.identity == earlier.identity if known else new.cloud == earlier.cloud
    same = {
        "checkpoint": new.checkpoint == earlier.checkpoint,
        # Without a cloud it is another thing to do.
        "cloud": same_cloud and bool(new.cloud) == bool(earlier.cloud),
        "selection of resources": earlier.fingerprint in {"", fingerprint(new.nodes)},
        "purpose": bool(new.ttl) == earlier.drill,
    }
    return [name for name, equal in same.items() if not equal]


def _require_same(new: NewRestore, earlier: Earlier) -> None:
    if others := differences(new, earlier):
        raise DuplicateRestoreError(
            f"the idempotency key {new.key} is that of restore {earlier.id}, which is of another "
            f"{' and another '.join(others)}: give another request another key"
        )
