"""The world of one run, over HTTP in the process that is never killed: what plugins build, and stubs of Keystone and Heat.

The stub of Heat knows of a template only its bytes: real Heat could not build hundreds of stacks in the time. It counts
what is created, takes a second for it, and may be unwilling: say 503, or hang up on a caller after it has done the work.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.stub_identity import StubIdentity


@dataclass
class StubStack:
    """A stack. begun, done: when its action was begun and will be done, on `time.time`; past: what has happened to it."""

    id: str
    name: str
    tags: list[str]
    template: str
    parameters: dict[str, Any]
    created: float
    action: str = "CREATE"
    status: str = "IN_PROGRESS"
    begun: float = 0.0
    done: float = 0.0
    past: list[str] = field(default_factory=list)

    def begin(self, action: str, seconds: float) -> None:
        """Begin to create or update it, for so many seconds."""
        self.action, self.begun = action, time.time()
        self.done = self.begun + seconds
        self._become("IN_PROGRESS")

    def cancel(self) -> None:
        """Stop what goes on."""
        if self.status == "IN_PROGRESS":
            self._become("FAILED")

    def work(self) -> None:
        """Let pass what has passed."""
        if self.status == "IN_PROGRESS" and time.time() >= self.done:
            self._become("COMPLETE")

    def _become(self, status: str) -> None:
        self.status = status
        self.past.append(f"{self.action}_{status}")

    def shown(self) -> dict[str, Any]:
        """Return what Heat tells of it."""
        times = {"creation_time": _iso(self.created), "updated_time": None}
        if self.action == "UPDATE":
            times["updated_time"] = _iso(self.begun)
        status = {"stack_status": f"{self.action}_{self.status}", "stack_status_reason": "as the stub says"}
        return {"id": self.id, "stack_name": self.name, "tags": self.tags, "outputs": [], **status, **times}

    def events(self) -> list[dict[str, Any]]:
        """Return what has happened to it, oldest first."""
        common = {"resource_name": self.name, "resource_status_reason": ""}
        return [
            {"id": f"{self.id}-{number}", "resource_status": status, **common}
            for number, status in enumerate(self.past)
        ]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class World:
    """What there is, what was asked, and when something happened.

    effects: physical ids by restore and resource, one for each time that it was created.
    stumbles: by resource, how it goes wrong in its next calls; the last one stays if it is `deadly` or `fails`.
    trouble: probability that Heat is unwilling.
    activity: times, on `time.time`, at which anything happened.
    deaths: how many workers' children were killed by what they restored.
    strange: requests that the stubs do not know.
    """

    random: Random
    identity: StubIdentity = field(default_factory=StubIdentity)
    effects: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    stumbles: dict[str, list[str]] = field(default_factory=dict)
    stacks: list[StubStack] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    trouble: float = 0.0
    activity: list[float] = field(default_factory=list)
    deaths: int = 0
    strange: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self) -> list[float]:
        """Return when something happened, the ends of the stacks' creations too."""
        return [*self.activity, *(stack.done for stack in self.stacks)]

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

    def heat(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Answer as Heat would."""
        with self._lock:
            fate = self.random.random()
            if fate < self.trouble / 2:
                return 503, {"error": {"message": "told to be away", "type": "Away"}, "code": 503}
            answer = self._heat(method, path, query, body)
            # It was done, but nobody may know.
            return (0, None) if fate < self.trouble else answer

    def _heat(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        for stack in self.stacks:
            stack.work()
        match method, path:
            case "GET", ["stacks"]:
                tag = query.get("tags", [""])[0]
                return 200, {"stacks": [each.shown() for each in self.stacks if tag in each.tags]}
            case "POST", ["stacks", "preview"]:
                return 200, {"stack": {}}
            case "POST", ["stacks"]:
                return self._create(body)
            case _, ["stacks", place, *rest]:
                found = [each for each in self.stacks if place in (each.id, each.name)]
                if not found:
                    return 404, {"error": {"message": "no such stack", "type": "EntityNotFound"}, "code": 404}
                return self._show(found[0], rest, query) if method == "GET" else self._change(found[0], rest, body)
        self.strange.append(f"{method} /{'/'.join(path)}")
        return 501, {"error": {"message": "not in this stub", "type": "NotImplemented"}, "code": 501}

    def _create(self, body: Any) -> tuple[int, Any]:
        name, now = body["stack_name"], time.time()
        if any(each.name == name for each in self.stacks):
            return 409, {"error": {"message": "it exists", "type": "StackExists"}, "code": 409}
        self.created[name] += 1
        self.activity.append(now)
        stack = StubStack(
            id=f"stack-{len(self.stacks) + 1}",
            name=name,
            tags=body["tags"].split(","),
            template=body["template"],
            parameters=body["parameters"],
            created=now,
        )
        stack.begin("CREATE", self.random.uniform(0.5, 1.5))
        self.stacks.append(stack)
        return 201, {"stack": {"id": stack.id}}

    def _change(self, stack: StubStack, rest: list[str], body: Any) -> tuple[int, Any]:
        match rest:
            case ["actions"] if "cancel_without_rollback" in body:
                stack.cancel()
                return 200, {}
            case [] if stack.status == "IN_PROGRESS":
                return 409, {"error": {"message": "busy", "type": "ActionInProgress"}, "code": 409}
            case []:
                stack.template, stack.parameters = body["template"], body["parameters"]
                stack.begin("UPDATE", self.random.uniform(0.5, 1.5))
                return 202, {}
        self.strange.append(f"change of a stack: {rest}")
        return 501, {}

    def _show(self, stack: StubStack, rest: list[str], query: dict[str, list[str]]) -> tuple[int, Any]:
        match rest:
            case []:
                return 200, {"stack": stack.shown()}
            case ["events"]:
                events, marker = stack.events(), query.get("marker", [""])[0]
                places = [place for place, each in enumerate(events, 1) if each["id"] == marker]
                return 200, {"events": events[places[0] if places else 0 :]}
            case ["template"]:
                return 200, yaml.load(stack.template, yaml.CSafeLoader)
            case ["resources"]:
                names = re.findall(r"^  (thing_\S+):$", stack.template, re.MULTILINE)[:3]
                common = {"resource_type": "Test::Thing", "resource_status": f"{stack.action}_{stack.status}"}
                more = {"resource_status_reason": "", **common}
                return 200, {
                    "resources": [
                        {"resource_name": each, "physical_resource_id": f"id of {each}", **more} for each in names
                    ]
                }
        self.strange.append(f"GET of a stack: {rest}")
        return 501, {}


@contextmanager
def served(random: Random) -> Iterator[World]:
    """Serve a world on a free port as long as the block runs."""
    world = World(random)
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
                status, answer = self.world.heat(self.command, path, parse_qs(url.query), body)
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
