"""Keystone's login, and services that answer as a test says, over HTTP on loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.stub_heat import StubHeat

PASSWORD = "pass-word-of-the-stub"
PROJECT = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Answer:
    """How a request is answered. status: 0 hangs up without an answer; seconds: to wait before."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Request:
    """What was asked; body: what had arrived of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class StubIdentity:
    """What a login gives, and what the services answer.

    answers: by method and path, one for each request; the last one stays. Without any it is 200 and {}.
    grants: more fields of a token, such as ``application_credential``.
    project: id of the one that it logs in to.
    heat: answers what no script does; one request at a time.
    """

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    grants: dict[str, Any] = field(default_factory=dict)
    scoped: bool = True
    project: str = PROJECT
    tokens: int = 0
    heat: StubHeat | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, *methods: str) -> list[str]:
        """Return methods and paths of the requests, of these methods if any are named.

        What it takes to log in and to find a service does not count.
        """
        calls = [each for each in self.requests if not re.fullmatch("/v3.*|/[a-z]*/?", each.path)]
        return [f"{each.method} {each.path}" for each in calls if not methods or each.method in methods]

    def entry(self, **options: Any) -> dict[str, Any]:
        """Return a cloud of clouds.yaml that stands for it."""
        auth = {"auth_url": f"{self.url}/v3", "username": "user", "password": PASSWORD, "project_name": "project"}
        domains = {"user_domain_name": "Default", "project_domain_name": "Default"}
        return {"auth": auth | domains | options.pop("auth", {}), "region_name": "RegionOne", **options}

    def token(self) -> dict[str, Any]:
        """Return the body of a login."""
        urls = {service: f"{self.url}/{service}" for service in ("orchestration", "image")} | {
            "identity": f"{self.url}/v3"
        }
        place = {"interface": "public", "region": "RegionOne", "region_id": "RegionOne"}
        catalog = [
            {"type": name, "name": name, "endpoints": [{**place, "url": url}]} for name, url in urls.items()
        ]
        expires = datetime.now(UTC) + timedelta(hours=1)
        domain = {"id": "default", "name": "Default"}
        token = {
            "methods": ["password"],
            "user": {"id": "user-id", "name": "user", "domain": domain},
            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            **self.grants,
        }
        if self.scoped:
            token |= {"project": {"id": self.project, "name": "project", "domain": domain}, "catalog": catalog}
        return {"token": token}


@contextmanager
def stub_identity() -> Iterator[StubIdentity]:
    """Serve it on a free port as long as the block runs."""
    stub = StubIdentity()
    verbs = {f"do_{method}": _Handler.serve for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": stub, **verbs}))
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_clouds(path: Path, **clouds: Any) -> Path:
    """Write a clouds.yaml and return its path."""
    path.write_text(yaml.safe_dump({"clouds": clouds}))
    return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: the second one would wait for the first one's acknowledgement.
    wbufsize = 1 << 16
    stub: StubIdentity

    def log_message(self, *_: Any) -> None:
        """Keep stderr for the tests."""

    def serve(self) -> None:
        """Answer as the script says, else as Keystone and Glance say who they are."""
        path = urlsplit(self.path).path
        request = Request(self.command, path, dict(self.headers), self._body())
        self.stub.requests.append(request)
        if f"{self.command} {path}" == "POST /v3/auth/tokens" and "POST /v3/auth/tokens" not in self.stub.answers:
            self.stub.tokens += 1
            self._send(Answer(201, self.stub.token(), {"X-Subject-Token": f"token-{self.stub.tokens}"}))
            return
        script = self.stub.answers.get(f"{self.command} {path}", [])
        answer = script.pop(0) if len(script) > 1 else script[0] if script else self._usual(request)
        threading.Event().wait(answer.seconds)
        if answer.status:
            self._send(answer)
        else:
            self.close_connection = True

    def _usual(self, request: Request) -> Answer:
        match request.path.strip("/").split("/"):
            case ["orchestration", *rest] if rest and self.stub.heat:
                query, body = parse_qs(urlsplit(self.path).query), json.loads(request.body or b"null")
                with self.stub.lock:
                    return Answer(*self.stub.heat.answer(request.method, rest, query, body))
            case ["orchestration", "stacks", "preview"]:
                # What Heat says to a template that lacks a value.
                lacking = {"error": {"type": "UserParameterMissing", "message": "absent"}, "code": 400}
                return Answer(400, lacking) if b"absent" in request.body else Answer(body={"stack": {}})
            case [""]:
                return Answer(300, {"versions": {"values": [self._version("v3.14", "v3")]}})
            case ["v3"]:
                return Answer(body={"version": self._version("v3.14", "v3")})
            case ["image"]:
                return Answer(body={"versions": [self._version("v2.9", "image/v2")]})
        return Answer()

    def _version(self, name: str, path: str) -> dict[str, Any]:
        return {"id": name, "status": "CURRENT", "links": [{"rel": "self", "href": f"{self.stub.url}/{path}/"}]}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _send(self, answer: Answer) -> None:
        text = isinstance(answer.body, str)
        data = answer.body.encode() if text else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/html" if text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
