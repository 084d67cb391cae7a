"""A stub of Heat that knows of a template only its bytes: real Heat could not build hundreds of stacks in the time."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import yaml


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

    @property
    def deleted(self) -> bool:
        """Whether it is there no more, but for who knows its id."""
        return self.action == "DELETE" and self.status == "COMPLETE"

    def begin(self, action: str, seconds: float) -> None:
        """Begin to create, update or delete it, for so many seconds."""
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

    def shown(self, words: str) -> dict[str, Any]:
        """Return what Heat tells of it."""
        times = {"creation_time": _iso(self.created), "updated_time": None}
        if self.action == "UPDATE":
            times["updated_time"] = _iso(self.begun)
        status = {"stack_status": f"{self.action}_{self.status}", "stack_status_reason": words}
        return {"id": self.id, "stack_name": self.name, "tags": self.tags, "outputs": [], **status, **times}

    def events(self, words: str) -> list[dict[str, Any]]:
        """Return what has happened to it, oldest first."""
        common = {"resource_name": self.name, "resource_status_reason": words}
        return [
            {"id": f"{self.id}-{number}", "resource_status": status, **common}
            for number, status in enumerate(self.past)
        ]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class StubHeat:
    """Its stacks, each of which takes it a second.

    deletes: how long it takes to delete one.
    fails: how often it will fail to delete one.
    created: how often a stack of a name was; words: its reason for all; strange: requests that it does not know.
    One request at a time: who serves it sees to that.
    """

    random: Random
    deletes: float = 0.5
    fails: int = 0
    stacks: list[StubStack] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    words: str = "as the stub says"
    strange: list[str] = field(default_factory=list)

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Answer a request; path and query: as its URL has them, in parts."""
        for stack in self.stacks:
            stack.work()
        match method, path:
            case "GET", ["stacks"]:
                tag = query.get("tags_any", [""])[0]
                names = query.get("name", [])
                known = [each for each in self.stacks if tag in each.tags and not each.deleted]
                found = [each for each in known if not names or each.name in names]
                return 200, {"stacks": [each.shown(self.words) for each in found]}
            case "POST", ["stacks", "preview"]:
                return 200, {"stack": {}}
            case "POST", ["stacks"]:
                return self._create(body)
            case _, ["stacks", place, *rest]:
                found = [
                    each for each in self.stacks if each.id == place or (each.name == place and not each.deleted)
                ]
                if not found:
                    return 404, {"error": {"message": "no such stack", "type": "EntityNotFound"}, "code": 404}
                return self._show(found[0], rest, query) if method == "GET" else self._change(found[0], rest, body)
        self.strange.append(f"{method} /{'/'.join(path)}")
        return 501, {"error": {"message": "not in this stub", "type": "NotImplemented"}, "code": 501}

    def _create(self, body: Any) -> tuple[int, Any]:
        name, now = body["stack_name"], time.time()
        if any(each.name == name and not each.deleted for each in self.stacks):
            return 409, {"error": {"message": "it exists", "type": "StackExists"}, "code": 409}
        self.created[name] += 1
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

    def _delete(self, stack: StubStack) -> tuple[int, Any]:
        if stack.action != "DELETE" or stack.status == "FAILED":
            stack.begin("DELETE", self.deletes)
            if self.fails:
                self.fails -= 1
                stack.cancel()
        return 204, {}

    def _change(self, stack: StubStack, rest: list[str], body: Any) -> tuple[int, Any]:
        match rest:
            case [] if body is None:
                return self._delete(stack)
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
                return 200, {"stack": stack.shown(self.words)}
            case ["events"]:
                events, marker = stack.events(self.words), query.get("marker", [""])[0]
                places = [place for place, each in enumerate(events, 1) if each["id"] == marker]
                return 200, {"events": events[places[0] if places else 0 :]}
            case ["template"]:
                return 200, yaml.load(stack.template, yaml.CSafeLoader)
            case ["resources"]:
                resources = stack.template.partition("\nresources:\n")[2]
                names = re.findall(r"^  (\S+):$", resources, re.MULTILINE)[:3]
                common = {"resource_type": "Test::Thing", "resource_status": f"{stack.action}_{stack.status}"}
                more = {"resource_status_reason": self.words, **common}
                return 200, {
                    "resources": [
                        {"resource_name": each, "physical_resource_id": f"id of {each}", **more} for each in names
                    ]
                }
        self.strange.append(f"GET of a stack: {rest}")
        return 501, {}
