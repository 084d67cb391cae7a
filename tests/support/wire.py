"""What is on the wire to Redis, and what is in it."""

from __future__ import annotations

import ast
import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

SECONDS = 60
# A command as MONITOR shows it: quoted like Python's bytes.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@contextmanager
def commands(url: str) -> Iterator[list[list[str]]]:
    """Give a list that by the end holds all that Redis was told meanwhile, scripts' own commands included."""
    end = secrets.token_hex(8)
    seen: list[list[str]] = []

    def listen() -> None:
        while (command := _parsed(connection.read_response(disable_decoding=True))) != ["ECHO", end]:
            seen.append(command)

    with redis.Redis.from_url(url, socket_timeout=SECONDS) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("MONITOR")
        connection.read_response()
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield seen
        finally:
            client.echo(end)
            listener.join(SECONDS)
            assert not listener.is_alive()


def _parsed(line: bytes) -> list[str]:
    return [ast.literal_eval(f"b{word}").decode() for word in _QUOTED.findall(line.decode())]


def held(url: str) -> str:
    """Return all keys of a Redis with their values."""
    kinds = {
        # A message, say, that a worker took between the two questions.
        "none": lambda *_: None,
        "string": lambda client, key: client.get(key),
        "hash": lambda client, key: client.hgetall(key),
        "list": lambda client, key: client.lrange(key, 0, -1),
        "set": lambda client, key: client.smembers(key),
        "zset": lambda client, key: client.zrange(key, 0, -1),
        "stream": lambda client, key: client.xrange(key),
    }
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return "\n".join(f"{key} {kinds[client.type(key)](client, key)}" for key in client.scan_iter())


def messages(seen: list[list[str]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the tasks' messages, as they are on the wire and read."""
    texts = [text for name, *words in seen if name == "LPUSH" for text in words[1:]]
    found = [(text, json.loads(text)) for text in texts]
    return [(text, message) for text, message in found if "task" in message["headers"]]


def names_of(seen: list[list[str]]) -> set[str]:
    """Return which tasks were sent."""
    return {message["headers"]["task"] for _, message in messages(seen)}


def broadcasts(seen: list[list[str]]) -> list[dict[str, Any]]:
    """Return what was sent to all: events of tasks and workers, and remote control."""
    return [json.loads(words[1]) for name, *words in seen if name == "PUBLISH"]


def body_of(message: dict[str, Any]) -> bytes:
    """Return the body of a message."""
    assert message["properties"]["body_encoding"] == "base64"
    return base64.b64decode(message["body"])
