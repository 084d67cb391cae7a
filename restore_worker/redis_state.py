"""What a Redis tells of itself: whether it can serve restores, and whether it keeps what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import redis
from redis.exceptions import ResponseError

from restore_worker.entries import Priority, list_of
from restore_worker.errors import LedgerError
from restore_worker.ledger_reader import translated

# The oldest that has all commands of ours and Celery's.
OLDEST = (6, 2)
KEEPING = "noeviction"


class Complaint(NamedTuple):
    """Something that is not as it should be, and what mends it."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class RedisState:
    """None: it does not tell.

    name: with its own version. version: as Redis counts, where Valkey stays at 7.2.
    cluster: whether it is a part of one. role: master or slave.
    policy: what is thrown away when memory is full.
    aof, snapshots: whether every write, or everything now and then, goes to disk.
    used, limit: bytes; limit: 0 for none.
    """

    name: str = "Redis"
    version: str | None = None
    cluster: bool | None = None
    role: str | None = None
    policy: str | None = None
    aof: bool | None = None
    snapshots: bool | None = None
    used: int | None = None
    limit: int | None = None

    def unfit(self) -> Complaint | None:
        """Return why it cannot serve at all."""
        if self.version is not None and _numbers(self.version) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return Complaint(f"version {self.version} is too old", f"install Redis {oldest} or newer, or Valkey")
        if self.cluster:
            return Complaint(
                "this is a Redis Cluster, over which queues cannot be spread",
                "take a single server, or one with replicas under Sentinels",
            )
        if self.role == "slave":
            return Complaint(
                "this is a replica, which takes no writes",
                "name its master in RESTORE_REDIS_URL, or the Sentinels: redis+sentinel://HOST:26379/MASTER/0",
            )
        return None

    def evicts(self) -> Complaint | None:
        """Return what may be thrown away when memory is full."""
        if self.policy in (None, KEEPING):
            return None
        return Complaint(
            f"Redis may throw parts of restores away when its memory is full (maxmemory-policy is {self.policy})",
            f"redis-cli CONFIG SET maxmemory-policy {KEEPING}, and the same in its configuration",
        )

    def forgets(self) -> Complaint | None:
        """Return what is lost when it is restarted."""
        if self.aof is not False or self.snapshots is not False:
            return None
        return Complaint(
            "Redis forgets all restores when it is restarted (neither AOF nor snapshots)",
            "redis-cli CONFIG SET appendonly yes, and the same in its configuration",
        )

    @property
    def untold(self) -> list[str]:
        """What it should tell of whether it loses restores, and does not."""
        untold = ["its maxmemory-policy"] if self.policy is None else []
        if self.aof is None or (not self.aof and self.snapshots is None):
            untold.append("whether it keeps what it has over a restart")
        return untold


def look(client: redis.Redis) -> RedisState:
    """Return what it tells of itself; what it refuses to tell is left open.

    client: as of `restore_worker.redis_client.open_client`.
    LedgerError if it refuses the login, LedgerUnavailableError if it does not answer.
    """
    told = _allowed(client.info)
    version = told.get("redis_version")
    policy = told.get("maxmemory_policy")
    if policy is None:
        policy = _allowed(lambda: client.config_get("maxmemory-policy")).get("maxmemory-policy")
    aof = _flag(told.get("aof_enabled"))
    # Only its configuration names the times of snapshots; without AOF they matter.
    save = None if aof else _allowed(lambda: client.config_get("save")).get("save")
    return RedisState(
        name=f"Valkey {told['valkey_version']}" if "valkey_version" in told else f"Redis {version or ''}".strip(),
        version=version,
        cluster=_flag(told.get("cluster_enabled")),
        role=told.get("role"),
        policy=policy,
        aof=aof,
        snapshots=None if save is None else bool(save),
        used=told.get("used_memory"),
        limit=told.get("maxmemory"),
    )


def clock_ahead(client: redis.Redis) -> float:
    """Return by how many seconds this machine's clock is ahead of that of Redis."""
    before = time.time()
    with translated():
        seconds, microseconds = client.time()
    return (before + time.time()) / 2 - (seconds + microseconds / 1e6)


def waiting(client: redis.Redis, queue: str) -> int:
    """Return how many tasks wait in a queue."""
    with translated():
        return sum(client.llen(list_of(queue, priority)) for priority in Priority)


def _allowed(ask: Callable[[], Any]) -> dict[str, Any]:
    """Return the answer; none if the user may not ask that, or the server does not know the command."""
    try:
        with translated():
            return cast("dict[str, Any]", ask())
    except LedgerError as error:
        if isinstance(error.__cause__, ResponseError):
            return {}
        raise


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
