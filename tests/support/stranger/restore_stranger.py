"""A stranger's plugin, found by its entry point when this folder is on the path: its resources do what they are told.

What runs is written down in the folder that STRANGER_LOG names, a file a restore and a line a call; without it, or in a
rendering in one process, each call is the first one.
"""

# ruff: noqa: ARG002 - a plugin needs not all that it is given

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from restore_worker.errors import BankUnavailableError, RestoreError
from restore_worker.plugin import BankData, Definition, NoParameters, Produces, RestorePlugin, StillBuilding
from restore_worker.template import HeatResource


class Step(Definition):
    """What the metadata in the bank says of a step."""

    # How long it works, unless the obstacle goes away.
    seconds: float = 0.0
    # What happens then; "flaky", "slow" and "kill" happen in the first call only, "deadly" is "kill" in each.
    # "frozen" works in C and lets no other thread run meanwhile, in the first call; "fatal" kills who only looks at it.
    ends: Literal[
        *(
            "done",
            "failed",
            "broken",
            "flaky",
            "unwell",
            "slow",
            "kill",
            "deadly",
            "clash",
            "held",
            "frozen",
            "fatal",
            "deaf",
            "streams",
        )
    ] = "done"
    # As soon as this file is gone, it ends well after all; "held" waits for that, "deaf" whatever happens to it, and
    # "streams" reads its data slowly until then.
    obstacle: str = "/"
    # Seconds that who is "flaky" or "unwell" asks for before it is tried again.
    after: float = 0.0
    # What it would look for on the target and not find, and what it tells of the target.
    lacks: str = ""
    tells: str = ""
    # Of its data in the bank.
    chunks: int = 0
    checksum: str = ""


class StepPlugin(RestorePlugin[Step, NoParameters, Step]):
    """Restores nothing, but in the right order."""

    resource_type = "Test::Step"
    Definition = Step
    Work = Step
    isolates = True

    def prepare(self, resource, definition, parameters, selection, report):
        return definition

    def produces(self, work):
        return Produces.RESOURCE

    def data(self, work):
        if work.ends == "fatal" and Path(work.obstacle).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return BankData(work.chunks, work.checksum) if work.chunks else None

    def check(self, resource, work, target, report):
        if work.lacks:
            report.problem("thing", f"the target has no {work.lacks}", f"make a {work.lacks}")
        if work.tells:
            report.finding("thing", work.tells)

    def restore(self, resource, work, template, context):
        first = _log(context.restore_id, resource.id)
        if work.ends == "frozen" and first:
            # Of the C library, called without letting go of the interpreter.
            ctypes.PyDLL(None).sleep(int(work.seconds))
        obstacle, end = Path(work.obstacle), time.monotonic() + work.seconds
        while work.ends != "frozen" and time.monotonic() < end and obstacle.exists():
            time.sleep(min(0.02, max(0.0, end - time.monotonic())))
        for _ in context.read_data() if work.ends == "streams" else ():
            time.sleep(0.02 if obstacle.exists() else 0)
        if work.ends in ("held", "deaf"):
            _wait(obstacle, BaseException if work.ends == "deaf" else ())
        if obstacle.exists():
            _stumble(work, first)
        original_id = "the-same" if work.ends == "clash" else resource.id
        template.put_resource(original_id, HeatResource("OS::Heat::Value", {"value": resource.name}))


class BrittlePlugin(StepPlugin):
    """Tries less often than others."""

    resource_type = "Test::Brittle"
    isolates = False
    max_attempts = 2


def _wait(obstacle: Path, unheard: type[BaseException] | tuple[()]) -> None:
    """Return once the obstacle is away. unheard: what is raised here meanwhile and makes no difference."""
    there = True
    while there:
        with suppress(unheard):
            time.sleep(0.02)
            there = obstacle.exists()


def _stumble(work: Step, first: bool) -> None:
    """Go wrong as told."""
    ends = work.ends
    if ends == "failed":
        raise RestoreError("told to fail")
    if ends == "broken":
        raise ZeroDivisionError("told to break")
    if ends == "unwell" or (first and ends == "flaky"):
        error = BankUnavailableError(f"told to be {ends}")
        error.after = work.after
        raise error
    if first and ends == "slow":
        raise StillBuilding("told to be slow", after=0.2)
    if ends == "deadly" or (first and ends == "kill"):
        os.kill(os.getpid(), signal.SIGKILL)


def _log(restore_id: str, resource_id: str) -> bool:
    """Write a call down; return whether it is the resource's first."""
    folder = os.environ.get("STRANGER_LOG")
    if folder is None or not restore_id:
        return True
    with Path(folder, restore_id).open("a+", encoding="ascii") as log:
        log.seek(0)
        known = f"{resource_id}\n" in log.readlines()
        log.write(f"{resource_id}\n")
    return not known
