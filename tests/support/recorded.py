"""What an earlier version of the code left in Redis: see tests/contract/recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import redis

FOLDER = Path(__file__).parents[1] / "contract" / "recorded"
# The restore that the messages are about.
RESTORE_ID = "00000000-0000-4000-8000-000000000001"


def messages() -> list[dict[str, Any]]:
    """Return a message of each task, as it was in its queue."""
    return cast("list[dict[str, Any]]", json.loads((FOLDER / "messages.json").read_text()))


def load(client: redis.Redis, name: str, instead: Mapping[str, str]) -> str:
    """Write down what was in Redis at a stage of a restore; its id.

    instead: of what stands for a place of those days in the recording.
    """
    text = (FOLDER / f"{name}.json").read_text()
    for old, new in instead.items():
        assert old in text
        text = text.replace(old, new)
    found = json.loads(text)
    for key, (kind, value) in found.items():
        match kind:
            case "hash":
                client.hset(key, mapping=value)
            case "set":
                client.sadd(key, *value)
            case "string":
                client.set(key, value)
            case "zset":
                client.zadd(key, value)
            case "list":
                client.rpush(key, *value)
            case "stream":
                for place, fields in value:
                    client.xadd(key, fields, id=place)
            case _:
                raise ValueError(kind)
    (restore_id,) = found["restores"][1]
    return str(restore_id)
