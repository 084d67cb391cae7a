"""Kombu's transport over Redis, with one client for each channel.

Kombu makes a client for each command, four for each message: a fifth of what a task costs a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class _OneClient(redis.Channel):
    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        make: Callable[..., Any] = super()._create_client
        if asynchronous:
            return make(asynchronous=True)
        # The pool is another one when the connection was lost.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = make()
        return self._kept


class _OneClientOfSentinel(_OneClient, redis.SentinelChannel):
    pass


class Transport(redis.Transport):
    """For one server."""

    Channel = _OneClient


class SentinelTransport(redis.SentinelTransport):
    """For a server that Sentinels name."""

    Channel = _OneClientOfSentinel


def use() -> None:
    """Have Kombu take these wherever a URL says Redis; before the first connection is made."""
    for scheme, where in TRANSPORT_ALIASES.items():
        if where.startswith(redis.__name__):
            TRANSPORT_ALIASES[scheme] = f"{__name__}:{where.rpartition(':')[2]}"
