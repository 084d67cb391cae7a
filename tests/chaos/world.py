"""The world of one run, over HTTP in the process that is never killed: what plugins build, and stubs of Keystone and Heat.

The stub of Heat may be unwilling here: say 503, or hang up on a caller after it has done the work.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.stub_heat import StubHeat
from tests.support.stub_identity import StubIdentity


@dataclass
class World:
    """What there is, what was asked, and when something happened.

    effects: physical ids by restore and resource, one for each time that it was created.
    stumbles: by resource, how it goes wrong in its next calls; the last one stays if it is `deadly` or `fails`.
    trouble: probability that Heat is unwilling.
    activity: times, on `time.time`, at which anything happened.
    deaths: how many workers' children were killed by what they restored.
    strange: requests to nobody that is here.
    """

    random: Random
    heat: StubHeat
    identity: StubIdentity = field(default_factory=StubIdentity)
    effects: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    stumbles: dict[str, list[str]] = field(default_factory=dict)
    trouble: float = 0.0
    activity: list[float] = field(default_factory=list)
    deaths: int = 0
    strange: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self) -> list[float]:
        """Return when something happened, also to the stacks."""
        return [*self.activity, *(at for stack in self.heat.stacks for at in (stack.created, stack.done))]

    # What plugins ask

    def act(self, question: str, details: dict[str, Any]) -> Any:
        """Answer a plugin."""
        tag = details.get("restore", ""), details.get("resource", "")
        with self._lock:
            if question != "ready":
                self.activity.append(time.time())
            match question:
                case "create":
                    made = self.effects.setdefault(tag, [])
                    made.append(f"{tag[1]}-{len(made) + 1}-of-{tag[0]}")
                    self.ready[made[-1]] = time.time() + details["slow"]
                    return made[-1]
                case "find":
                    return next(iter(self.effects.get(tag, ())), None)
                case "ready":
                    return self.ready[details["id"]] <= time.time()
                case "stumble":
                    left = self.stumbles.get(tag[1], [])
                    how = None if not left else left[0] if left[0] in {"deadly", "fails"} else left.pop(0)
                    self.deaths += how == "deadly"
                    return how
                case "working":
                    return None
        raise ValueError(question)

    # What Heat is asked

    def ask_heat(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Answer as Heat would."""
        with self._lock:
            fate = self.random.random()
            if fate < self.trouble / 2:
                return 503, {"error": {"message": "told to be away", "type": "Away"}, "code": 503}
            answer = self.heat.answer(method, path, query, body)
            # It was done, but nobody may know.
            return (0, None) if fate < self.trouble else answer


@contextmanager
def served(random: Random) -> Iterator[World]:
    """Serve a world on a free port as long as the block runs."""
    world = World(random, StubHeat(random))
    verbs = {f"do_{method}": _Handler.answer for method in ("GET", "POST", "PATCH", "PUT", "DELETE")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"world": world, **verbs}))
    server.daemon_threads = True
    world.identity.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: the second one would wait for the first one's acknowledgement.
    wbufsize = 1 << 16
    world: World

    def log_message(self, *_: Any) -> None:
        """Keep stderr for the runs."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            # Who asked was killed.
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except ConnectionError:
            self.close_connection = True

    def answer(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        match url.path.strip("/").split("/"):
            case ["world", question]:
                self._send(200, self.world.act(question, body or {}))
            case ["v3", "auth", "tokens"]:
                self._send(201, self.world.identity.token(), {"X-Subject-Token": "token"})
            case ["orchestration", *path] if path:
                status, answer = self.world.ask_heat(self.command, path, parse_qs(url.query), body)
                if status:
                    self._send(status, answer)
                else:
                    self.close_connection = True
            case ["v3"]:
                here = [{"rel": "self", "href": f"{self.world.identity.url}/v3/"}]
                self._send(200, {"version": {"id": "v3.14", "status": "CURRENT", "links": here}})
            case _:
                self.world.strange.append(f"{self.command} {url.path}")
                self._send(404, {})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
