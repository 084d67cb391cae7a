"""A stranger's plugin, found by its entry point when this folder is on the path: its resources do what they are told.

What runs is written down in the folder that STRANGER_LOG names, a file a restore and a line a call; without it, or in a
rendering in one process, each call is the first one.
"""

# ruff: noqa: ARG002 - a plugin needs not all that it is given

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Literal

from restore_worker.errors import BankUnavailableError, RestoreError
from restore_worker.plugin import Definition, NoParameters, Produces, RestorePlugin, StillBuilding
from restore_worker.template import HeatResource


class Step(Definition):
    """What the metadata in the bank says of a step."""

    # How long it works.
    seconds: float = 0.0
    # What happens then; "flaky", "slow" and "kill" happen in the first call only, "deadly" is "kill" in each.
    ends: Literal["done", "failed", "broken", "flaky", "slow", "kill", "deadly", "clash", "held"] = "done"
    # As soon as this file is gone, it ends well after all; "held" waits for that.
    obstacle: str = "/"


class StepPlugin(RestorePlugin[Step, NoParameters, Step]):
    """Restores nothing, but in the right order."""

    resource_type = "Test::Step"
    Definition = Step
    Work = Step

    def prepare(self, resource, definition, parameters, selection, report):
        return definition

    def produces(self, work):
        return Produces.RESOURCE

    def restore(self, resource, work, template, context):
        first = _log(context.restore_id, resource.id)
        time.sleep(work.seconds)
        obstacle = Path(work.obstacle)
        while work.ends == "held" and obstacle.exists():
            time.sleep(0.02)
        if obstacle.exists():
            _stumble(work.ends, first)
        original_id = "the-same" if work.ends == "clash" else resource.id
        template.put_resource(original_id, HeatResource("OS::Heat::Value", {"value": resource.name}))


def _stumble(ends: str, first: bool) -> None:
    """Go wrong as told."""
    if ends == "failed":
        raise RestoreError("told to fail")
    if ends == "broken":
        raise ZeroDivisionError("told to break")
    if first and ends == "flaky":
        raise BankUnavailableError("told to be flaky")
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
