"""What happens to restores, as records of the log: the ledger's events, told by the process that caused them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType

from restore_worker.states import ResourceState, RestoreState

logger = logging.getLogger(__name__)

# What everything that is logged now is about: ``restore``, and ``resource`` and its ``type`` if there is one.
about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))

# More often than anybody wants to read it, and in the ledger.
_QUIET = frozenset({"moved"})
_LOUD = frozenset({ResourceState.FAILED.value, RestoreState.FAILED.value, "resent", "repeated"})
# What a record of the log calls itself `name`.
_RENAMED = {"name": "stack_resource"}


def tell(restore_id: str, events: Iterable[Sequence[str]]) -> None:
    """Log events as the ledger's scripts return them.

    Each is its name, the JSON of the resource's node ("" if it is the restore's), then names and values in turn.
    A record has them as attributes; ``fact`` is its stable name.
    """
    for name, node, *details in events:
        level = logging.DEBUG if name in _QUIET else logging.WARNING if name in _LOUD else logging.INFO
        if not logger.isEnabledFor(level):
            continue
        fields = {_RENAMED.get(key, key): value for key, value in zip(details[::2], details[1::2], strict=True)}
        fields |= {"restore": restore_id, "fact": f"restore.{name}"}
        what = "restore"
        if node:
            kind, original_id, title, _ = json.loads(node)
            fields |= {"resource": original_id, "type": kind, "title": title, "fact": f"resource.{name}"}
            what = f"{kind} {title or original_id}"
        told = {key: value for key, value in fields.items() if value}
        # As `logger.log` does, but for looking where it was called.
        logger.handle(logger.makeRecord(logger.name, level, __file__, 0, "%s: %s", (what, name), None, extra=told))
