"""No secret leaves the processes that use it: not in messages, not in Redis, not in logs; messages carry ids only."""

from __future__ import annotations

import ast
import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import redis

from restore_worker import canvas, restore
from restore_worker.states import RestoreState
from tests.support.bank_servers import CHECKPOINT, broken_server, serving, webapp
from tests.support.processes import wait_until

SECONDS = 60
# Bytes on the wire, with what Celery and kombu put around ids.
LARGEST_MESSAGE = 2000
SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OS_PASSWORD",
    "OS_TOKEN",
    "OS_APPLICATION_CREDENTIAL_SECRET",
)
# A command as MONITOR shows it: quoted like Python's bytes.
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@pytest.fixture
def bank(tmp_path):
    """Give the URL of the web application's bank in S3, which everybody finds who inherits the environment."""
    (tmp_path / "s3").mkdir()
    with serving("s3", tmp_path / "s3") as kind:
        yield kind.put("karbor", webapp())


@pytest.fixture
def hidden(bank, tmp_path, redis_url, monkeypatch):
    """Give all that is secret, in the environment of this process and of workers: also the key to the bank."""
    clouds = {"auth_url": "http://127.0.0.1:1/v3", "username": "u", "password": secrets.token_hex(16)}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"target": {"auth": clouds}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("OS_CLOUD", "target")
    values = {name: secrets.token_hex(16) for name in SECRETS}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return [*values.values(), clouds["password"], urlsplit(redis_url).password]


@contextmanager
def commands(url: str) -> Iterator[list[list[str]]]:
    """Give a list that by the end holds all that Redis was told meanwhile, scripts' own commands included."""
    end = secrets.token_hex(8)
    seen: list[list[str]] = []

    def listen() -> None:
        while (command := parsed(connection.read_response(disable_decoding=True))) != ["ECHO", end]:
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


def parsed(line: bytes) -> list[str]:
    return [ast.literal_eval(f"b{word}").decode() for word in QUOTED.findall(line.decode())]


def held(url: str) -> str:
    """Return all keys of a Redis with their values."""
    kinds = {
        "string": lambda client, key: client.get(key),
        "hash": lambda client, key: client.hgetall(key),
        "list": lambda client, key: client.lrange(key, 0, -1),
        "set": lambda client, key: client.smembers(key),
        "zset": lambda client, key: client.zrange(key, 0, -1),
        "stream": lambda client, key: client.xrange(key),
    }
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return "\n".join(f"{key} {kinds[client.type(key)](client, key)}" for key in client.scan_iter())


def messages(seen: list[list[str]]) -> list[tuple[str, dict]]:
    """Return the tasks' messages, as they are on the wire and read."""
    texts = [text for name, *words in seen if name == "LPUSH" for text in words[1:]]
    found = [(text, json.loads(text)) for text in texts]
    return [(text, message) for text, message in found if "task" in message["headers"]]


def names_of(seen: list[list[str]]) -> set[str]:
    return {message["headers"]["task"] for _, message in messages(seen)}


def calls(part) -> Iterator[tuple[list, dict]]:
    """Yield the arguments of all calls to tasks that are anywhere in a message's body."""
    if isinstance(part, dict) and "task" in part:
        yield part["args"], {key: value for key, value in part["kwargs"].items() if key != "tasks"}
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from calls(inner)


def body_of(message: dict) -> list:
    assert message["properties"]["body_encoding"] == "base64"
    return json.loads(base64.b64decode(message["body"]))


@pytest.mark.parametrize("refused", [False, True])
def test_secrets_stay_in_the_environment_and_messages_carry_ids(bank, hidden, redis_url, worker, refused):
    """Refused: the bank lets workers in no more, and what they say of it tells no secret either."""
    with broken_server(403) as broken, commands(redis_url) as seen:
        started = worker(options=["--beat", "--task-events"], env={"AWS_ENDPOINT_URL": broken} if refused else {})
        submitted = restore.submit(CHECKPOINT, bank=bank, create_stack=False)
        ended = submitted.wait(SECONDS)
        wait_until(lambda: canvas.POLL_STACKS in names_of(seen), "what beat sends")
    assert ended.state is (RestoreState.FAILED if refused else RestoreState.COMPLETE), ended
    sent = messages(seen)
    bodies = [body_of(message) for _, message in sent]
    for text in (repr(seen), repr(bodies), held(redis_url), started.output):
        assert submitted.id in text
        assert [secret for secret in hidden if secret in text] == []

    after = {canvas.RESTORE_RESOURCE, canvas.ASSEMBLE}
    assert names_of(seen) - set(canvas.PERIODIC) == {canvas.PREFLIGHT} | (set() if refused else after)
    ids = {submitted.id, *range(ended.size)}
    for args, kwargs, options in bodies:
        for these, named in [(args, kwargs), *calls(options)]:
            assert set(these) <= ids
            assert named == {}
    assert max(len(text.encode()) for text, _ in sent) <= LARGEST_MESSAGE
