"""Restores onto the test cloud: submitted by tests, and cleaned away after them without the engine's help."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from openstack.connection import Connection

from restore_worker import restore
from restore_worker.entries import StackLog, stack_name
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.cloud.small import PARAMETERS, Small, small
from tests.support import banks
from tests.support.processes import wait_until

T = TypeVar("T")
# More than anything here takes on a busy machine.
SECONDS = 180
_names = itertools.count(1)
# Of volumes: Cinder deletes none of those.
_UNDER_WAY = {"creating", "downloading", "restoring-backup", "uploading", "attaching", "detaching", "in-use"}


@dataclass
class Restoring:
    """Submits checkpoints to one project.

    connection: to that project; cloud: its name in clouds.yaml.
    folder: where the banks go.
    """

    connection: Connection
    cloud: str
    folder: Path
    restores: list[restore.Restore] = field(default_factory=list)

    def small(self, **choices: Any) -> Small:
        """Return `tests.cloud.small.small` with a name of its own, as if it had been saved in the project.

        It is on the flavor m1.tiny unless another one is chosen.
        """
        flavor = choices.pop("flavor", None) or self.connection.compute.find_flavor("m1.tiny").id
        public = choices.pop("public", None) or self.connection.network.find_network("public").id
        name = f"t{self.folder.name[-4:]}-{next(_names)}"
        project = str(self.connection.current_project_id)
        return small(name, project=project, flavor=flavor, public=public, **choices)

    def submit(self, application: Small, **choices: Any) -> restore.Restore:
        """Write the application into a bank, and have it restored."""
        chosen = {"bank": self.bank(application), "parameters": PARAMETERS, **choices}
        return self.restore(application.checkpoint.id, **chosen)

    def bank(self, application: Small) -> Path:
        """Write the application into a bank of its own."""
        folder = self.folder / f"bank{next(_names)}"
        banks.write(application.checkpoint, folder)
        return folder

    def restore(self, checkpoint: str, **choices: Any) -> restore.Restore:
        """Submit a checkpoint of a bank."""
        return self.known(restore.submit(checkpoint, **{"cloud": self.cloud, **choices}).id)

    def known(self, restore_id: str) -> restore.Restore:
        """Return a restore by its id; what it made is deleted at the end."""
        self.restores.append(restore.get(restore_id))
        return self.restores[-1]

    def stack(self, submitted: restore.Restore, number: int = 0) -> Any:
        """Return the restore's stack of that number as the cloud shows it, None if there is none."""
        found = self.connection.orchestration.find_stack(stack_name(submitted.id, number))
        # For a moment, one that is just deleted still has its name.
        return None if found is None or found.status == "DELETE_COMPLETE" else found

    def images(self, submitted: restore.Restore) -> list[Any]:
        """Return the images that the restore made."""
        return list(self.connection.image.images(tag=f"restore:{submitted.id}"))

    def volumes(self, submitted: restore.Restore) -> list[Any]:
        """Return the volumes that the restore made directly."""
        every = self.connection.block_storage.volumes()
        return [each for each in every if each.metadata.get("restore_worker_restore") == submitted.id]

    def _delete(self, submitted: restore.Restore, number: int, *, wait: bool) -> None:
        name = stack_name(submitted.id, number)
        if self.stack(submitted, number) is not None:
            self.connection.orchestration.delete_stack(name)
        if wait:
            wait_until(lambda: self.stack(submitted, number) is None, f"the end of stack {name}", 120)

    def clean(self) -> None:
        """Delete all that the restores made."""
        for submitted in self.restores:
            # Those first that took something over from others.
            turns = sorted(submitted.status.stacks, reverse=True)
            for number in turns:
                self._delete(submitted, number, wait=len(turns) > 1)
        for submitted in self.restores:
            for number in submitted.status.stacks:
                self._delete(submitted, number, wait=True)
        mine = {each.id for each in self.restores}

        def volumes() -> list[Any]:
            every = self.connection.block_storage.volumes()
            return [each for each in every if each.metadata.get("restore_worker_restore") in mine]

        wait_until(lambda: not {each.status for each in volumes()} & _UNDER_WAY, "rest of the volumes", SECONDS)
        for volume in volumes():
            self.connection.block_storage.delete_volume(volume.id)
        for submitted in self.restores:
            for image in self.images(submitted):
                self.connection.image.delete_image(image.id)
        wait_until(lambda: not volumes(), "the end of the volumes", SECONDS)


def noted(submitted: restore.Restore) -> StackLog:
    """Return what the restore has noted of its only stack."""
    (log,) = submitted.stacks.values()
    return log


def reach(submitted: restore.Restore, state: RestoreState, seconds: float = SECONDS) -> None:
    """Wait until a restore is in a state; AssertionError with its reason if it ends in another."""
    see(submitted, lambda: submitted.status.state is state, f"restore {submitted.id} {state}", seconds)


def see(submitted: restore.Restore, condition: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Return the first true value of the condition; AssertionError if the restore ends before, or time is up."""

    def seen() -> T:
        now = submitted.status
        if not (value := condition()) and now.state in FINAL_RESTORE_STATES:
            raise AssertionError(f"{now.state} without {what}: {now.reason}")
        return value

    return wait_until(seen, what, seconds)


def hear(submitted: restore.Restore, text: str, seconds: float = SECONDS) -> str:
    """Wait until a reason among a restore's news has the text, and return it; AssertionError if none has it."""
    end = time.monotonic() + seconds
    for event in restore.get(submitted.id).watch(quiet=1.0):
        if event is not None and text in (reason := event.details.get("reason", "")):
            return reason
        if time.monotonic() > end:
            break
    raise AssertionError(f"restore {submitted.id} said nothing of {text!r}")
