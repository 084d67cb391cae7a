"""Servers of banks as processes of their own, and the three kinds of bank that the same tests run on."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import boto3
import openstack
import pytest

from restore_worker.bank import Value
from tests.support.processes import Program

MARK = "X-Object-Meta-Serialized"
# The sample bank, and its only checkpoint.
WEBAPP = Path(__file__).parents[2] / "examples" / "webapp" / "karbor"
CHECKPOINT = "3d60acf8-b132-4930-bc5b-90294204e9f6"


def raw(data: bytes) -> Value:
    return Value(data, serialized=False)


def webapp() -> dict[str, Value]:
    files = {path.relative_to(WEBAPP).as_posix(): path for path in WEBAPP.rglob("*") if path.is_file()}
    return {
        key: Value(path.read_bytes(), serialized=path.name in ("index.json", "metadata"))
        for key, path in files.items()
    }


class BankKind(Protocol):
    """Makes banks of one kind."""

    # Whether objects bear Karbor's mark.
    marks: bool
    # How to find the bank's server and who may ask it; the user may only read where the server knows of that.
    environment: Mapping[str, str]

    def put(self, name: str, objects: Mapping[str, Value]) -> str:
        """Put objects, by key, into the new or old bank of that name; its URL."""

    def state(self, name: str) -> object:
        """Return all that a write would change."""


class Directories:
    marks = False

    def __init__(self, parent: Path) -> None:
        self.environment: Mapping[str, str] = {}
        self._parent = parent

    def put(self, name: str, objects: Mapping[str, Value]) -> str:
        container = self._parent / name / "karbor"
        container.mkdir(parents=True, exist_ok=True)
        for key, value in objects.items():
            (container / key).parent.mkdir(parents=True, exist_ok=True)
            (container / key).write_bytes(value.data)
        return container.parent.as_uri()

    def state(self, name: str) -> object:
        paths = sorted((self._parent / name).rglob("*"))
        return [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]


class Buckets:
    marks = True

    def __init__(self, endpoint: str) -> None:
        self.environment = s3_environment(endpoint)
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="writer",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )

    def put(self, name: str, objects: Mapping[str, Value]) -> str:
        self.client.create_bucket(Bucket=name)
        for key, value in objects.items():
            marks = {} if value.serialized is None else {MARK: str(value.serialized)}
            self.client.put_object(Bucket=name, Key=f"/{key}", Body=value.data, Metadata=marks)
        return f"s3://{name}"

    def state(self, name: str) -> object:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=name)
        found = [(o["Key"], o["LastModified"], o["ETag"]) for page in pages for o in page.get("Contents", ())]
        return found, [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]


class Containers:
    marks = True

    def __init__(self, auth_url: str, clouds: Path) -> None:
        self.environment = swift_environment(auth_url, clouds)
        self._store: Any = openstack.connect(
            load_yaml_config=False,
            auth_type="v1password",
            auth={"auth_url": auth_url, "username": "karbor:writer", "password": "secret"},
        ).object_store

    def put(self, name: str, objects: Mapping[str, Value]) -> str:
        self._ask("PUT", f"/{name}", headers={"X-Container-Read": "karbor:reader"})
        for key, value in objects.items():
            marks = {} if value.serialized is None else {MARK: str(value.serialized)}
            self._ask("PUT", f"/{name}//{key}", data=value.data, headers=marks)
        return f"swift://{name}"

    def state(self, name: str) -> object:
        return json.loads(self._ask("GET", f"/{name}", params={"format": "json"}).content)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._store.request(path, method, raise_exc=True, **options)


def s3_environment(endpoint: str) -> dict[str, str]:
    """Return what an S3 client needs to find the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }


def swift_environment(auth_url: str, clouds: Path) -> dict[str, str]:
    """Write a clouds.yaml with a cloud for each user and return what makes `reader` the default."""
    users = ("reader", "stranger")
    document = {
        user: {
            "auth_type": "v1password",
            "auth": {"auth_url": auth_url, "username": f"karbor:{user}", "password": "secret"},
        }
        for user in users
    }
    clouds.write_text(json.dumps({"clouds": document}))
    return {"OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": "reader"}


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """Run moto's S3 server, which lists 5 objects at a time; its URL."""
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    server = Program(command, log, {"MOTO_S3_DEFAULT_MAX_KEYS": "5"})
    try:
        server.wait_for("Press CTRL+C")
        found = re.search(r"http://127\.0\.0\.1:\d+", server.output)
        assert found, server
        yield found[0]
    finally:
        server.kill()


@contextmanager
def swift_server(directory: Path) -> Iterator[str]:
    """Run OpenStack Swift, see `tests.support.swift_server`; the URL to log in at."""
    server = Program([sys.executable, "-m", "tests.support.swift_server", str(directory)], directory / "log")
    try:
        server.wait_for("ready at ")
        yield server.output.rpartition("ready at ")[2].strip()
    finally:
        server.kill()


@contextmanager
def serving(kind: str, directory: Path) -> Iterator[BankKind]:
    """Run the server of a kind of bank and let everything in this process find it."""
    with ExitStack() as stack:
        made: BankKind
        if kind == "s3":
            made = Buckets(stack.enter_context(s3_server(directory / "log")))
        elif kind == "swift":
            made = Containers(stack.enter_context(swift_server(directory)), directory / "clouds.yaml")
        else:
            made = Directories(directory)
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@contextmanager
def broken_server(status: int) -> Iterator[str]:
    """Run a server that lets everybody log in to Swift and answers all else with an HTTP status; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.path.startswith("/auth/")
            self.send_response(200 if login else status)
            if login:
                self.send_header("X-Auth-Token", "token")
                self.send_header("X-Storage-Url", f"{url}/v1/AUTH_karbor")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_PUT = do_GET  # noqa: N815 - the names are http.server's

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield url
        server.shutdown()
        thread.join()
