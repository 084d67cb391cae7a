"""A plugin of the chaos runs: what its resources build is in the world of the run (tests/chaos/world.py), which counts."""

# ruff: noqa: ARG002 - a plugin needs not all that it is given

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from typing import Any, Literal

from pydantic import BaseModel

from restore_worker.errors import CloudUnavailableError, RestoreError
from restore_worker.plugin import Definition, NoParameters, Produces, RestorePlugin, StillBuilding
from restore_worker.template import HeatParameter, HeatResource

# References to children that a resource of the stack has at most.
_REFERENCES = 4


class Thing(Definition):
    """What the metadata in the bank says: what it is, how long the plugin works, how many parts a network has."""

    # direct: the plugin builds it; heat: Heat does; network: Heat builds many parts of it; project: nothing is built.
    kind: Literal["direct", "heat", "network", "project"]
    seconds: float = 0.0
    parts: int = 0
    # Seconds until what was built directly is ready.
    slow: float = 0.0


class ThingWork(BaseModel):
    """What a worker needs to know."""

    thing: Thing
    children: list[str]


class ThingPlugin(RestorePlugin[Thing, NoParameters, ThingWork]):
    """Builds things in the run's world, each through `Context.once`."""

    resource_type = "Test::Thing"
    Definition = Thing
    Work = ThingWork

    def prepare(self, resource, definition, parameters, selection, report):
        return ThingWork(thing=definition, children=[child.id for child in selection.children(resource.key)])

    def produces(self, work):
        made = {"direct": Produces.PARAMETER, "project": Produces.NOTHING}
        return made.get(work.thing.kind, Produces.RESOURCE)

    def restore(self, resource, work, template, context):
        thing = work.thing
        if not context.rendering:
            _work(thing.seconds)
        if thing.kind == "direct":
            tag = {"restore": context.restore_id, "resource": resource.id}
            built = context.once(
                "thing", lambda: _ask("create", slow=thing.slow, **tag), lambda: _ask("find", **tag)
            )
            if built is not None and not _ask("ready", id=built):
                raise StillBuilding("it is being built", after=0.3)
            template.put_parameter(resource.id, HeatParameter(built, "Test::Thing"))
        if not context.rendering:
            _stumble(_ask("stumble", resource=resource.id))
        if thing.kind in {"heat", "network"}:
            known = [child for child in work.children[:_REFERENCES] if template.has(child)]
            needs = [template.get_resource_reference(child) for child in known]
            template.put_resource(resource.id, HeatResource("Test::Thing", {"needs": needs}))
        for number in range(thing.parts):
            part = HeatResource("Test::Part", {"of": template.get_resource_reference(resource.id)})
            template.put_resource(f"{resource.id}-{number}", part)


def _work(seconds: float) -> None:
    """Take so long; what takes long tells the world that it is alive."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
        if seconds > 1:
            _ask("working")


def _stumble(how: str | None) -> None:
    """Go wrong as the world says."""
    if how == "flaky":
        raise CloudUnavailableError("told to be flaky")
    if how == "fails":
        raise RestoreError("told to fail")
    if how == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)


def _ask(question: str, **details: Any) -> Any:
    request = urllib.request.Request(f"{os.environ['CHAOS_WORLD']}/world/{question}", json.dumps(details).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)
