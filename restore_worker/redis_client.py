"""The connection to Redis, whichever way leads there."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError
from redis.retry import Retry
from redis.sentinel import Sentinel

from restore_worker.redis_address import RedisAddress


def open_client(address: RedisAddress, *, retries: int, seconds: float = 20.0) -> redis.Redis:
    """Return a client that decodes what it reads; it asks nothing yet.

    retries: how often a call is repeated if the connection is lost; 15 take about half a minute, in which Redis
        may be restarted, or a replica take over.
    seconds: that an answer may take.
    """
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.user,
        "password": address.password,
        "decode_responses": True,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=3), retries),
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError, BusyLoadingError],
        "socket_timeout": seconds,
        "socket_connect_timeout": min(5.0, seconds),
        "health_check_interval": 30,
        **address.tls_options(),
    }
    if address.socket:
        return redis.Redis(unix_socket_path=address.socket, **options)
    if address.master:
        sentinel: Any = Sentinel  # redis-py has no types for it
        client: redis.Redis = sentinel(
            address.nodes, sentinel_kwargs=address.sentinel_options(), **options
        ).master_for(address.master)
        return client
    ((host, port),) = address.nodes
    return redis.Redis(host, port, **options)
