"""The public door: plan a restore, submit it, and see it through.

>>> from restore_worker import restore
>>> restore.submit("latest", bank="/backups/bank").wait()  # doctest: +SKIP
"""

from __future__ import annotations

import functools
import json
import logging
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restore_worker import settings
from restore_worker.bank import Bank, open_bank
from restore_worker.cloud import check_cloud
from restore_worker.entries import (
    QUEUE,
    RECONCILE_QUEUE,
    TRANSFER_QUEUE,
    Event,
    NewRestore,
    Node,
    ResourceProgress,
    RestoreRecord,
)
from restore_worker.errors import RefusedError, RestoreError
from restore_worker.export import write_hot
from restore_worker.parameters import RestoreParameters
from restore_worker.plan import Finding, Plan, make_plan
from restore_worker.render import Rendering, render
from restore_worker.settings import Settings
from restore_worker.states import FINAL_RESTORE_STATES, SETTLED_RESOURCE_STATES, RestoreState
from restore_worker.template import Hot

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger

__all__ = ["Restore", "get", "list_restores", "named_bank", "plan", "submit"]

logger = logging.getLogger(__name__)

# With no event for so long, somebody should look whether anybody works.
QUIET_SECONDS = 10.0
# Seconds between two looks at a restore with news: hundreds of looks a second would slow it down.
_PACE = 0.05


def plan(
    checkpoint_id: str,
    *,
    bank: str | Path | None = None,
    cloud: str | None = None,
    resources: Iterable[str] | None = None,
    parameters: RestoreParameters | None = None,
    verify: bool = True,
) -> Rendering:
    """Return what a restore of the checkpoint would do, with its template and everything that is wrong.

    Runs in this process; nothing is built, nothing is written, neither Redis nor a cloud is asked.

    checkpoint_id: an id, ``latest``, ``latest:PLAN`` or ``PLAN@2020-03-05T12:00``.
    bank: directory or URL; by default the environment's ``RESTORE_BANK``.
    cloud: name of the target in clouds.yaml; all that is checked of it is that it is there.
    resources: ids, ``TYPE`` or ``TYPE#ID``; what they depend on is added. None for the whole checkpoint.
    parameters: by ``TYPE`` or ``TYPE#ID``, what plugins shall do differently.
    verify: read all image and volume bytes in the bank, and compare their checksums.
    Raises RestoreError if bank or checkpoint cannot be read at all.
    """
    if cloud:
        check_cloud(cloud)
    made = make_plan(named_bank(bank), checkpoint_id, resources=resources, parameters=parameters)
    return render(made, verify=verify)


def submit(
    checkpoint_id: str,
    *,
    bank: str | Path | None = None,
    cloud: str | None = None,
    export: str | Path | None = None,
    create_stack: bool = True,
    parameters: RestoreParameters | None = None,
    resources: Iterable[str] | None = None,
) -> Restore:
    """Write the restore down for the workers, and return at once.

    Without a cloud the restore is a rendering: it ends with the template, and nothing is built.

    checkpoint_id, bank, parameters, resources: as of `plan`.
    cloud: name of the target in clouds.yaml, by default the environment's ``OS_CLOUD``; not supported yet.
    export: where `Restore.wait` shall write the template.
    create_stack: False for the template alone, whatever the environment says.
    Raises RefusedError with all problems, or another RestoreError; nothing has been written then.
    """
    _refuse_cloud(cloud, create_stack=create_stack)
    made = make_plan(named_bank(bank), checkpoint_id, resources=resources, parameters=parameters)
    if made.problems:
        problems = tuple(str(each) for each in made.problems)
        headline = f"checkpoint {made.checkpoint.id} cannot be restored so:"
        raise RefusedError("\n  ".join((headline, *problems)), problems)
    new = _new_restore(made)
    _ledger().record(new)
    _start(new.id, 1)
    return Restore(new.id, Path(export) if export else None)


def get(restore_id: str) -> Restore:
    """Return a restore by its id; UnknownRestoreError if there is none."""
    _ledger().get(restore_id)
    return Restore(restore_id)


def list_restores() -> list[RestoreRecord]:
    """Return all restores that are still known, newest first."""
    return list(_ledger().restores())


@dataclass(slots=True)
class Restore:
    """A submitted restore, seen from outside.

    export: where `wait` writes the template.
    """

    id: str
    export: Path | None = None
    _seen: str = field(default="0-0", repr=False)

    @property
    def status(self) -> RestoreRecord:
        """The restore as it stands."""
        return _ledger().get(self.id)

    @property
    def resources(self) -> list[ResourceProgress]:
        """The resources as they stand, every child before its parents."""
        return _ledger().resources(self.id)

    @property
    def template(self) -> Hot | None:
        """The template with the values of its parameters; None if there is none (yet)."""
        return _ledger().template(self.id)

    @property
    def findings(self) -> list[Finding]:
        """What comes back differently or not at all."""
        return [Finding(*each) for each in json.loads(_ledger().findings(self.id))]

    def watch(self, quiet: float = QUIET_SECONDS) -> Iterator[Event | None]:
        """Yield what happens, from the beginning to the end; None after each ``quiet`` seconds without news."""
        while True:
            final = self.status.state in FINAL_RESTORE_STATES
            events = _ledger().events(self.id, self._seen, wait=None if final else quiet)
            for event in events:
                self._seen = event.id
                yield event
            if final and not events:
                return
            if not events:
                yield None
            elif not final:
                time.sleep(_PACE)

    def wait(self, timeout: float | None = None) -> RestoreRecord:
        """Wait for the end and return how it ended; TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        for _ in self.watch(quiet=QUIET_SECONDS if timeout is None else min(1.0, timeout)):
            if time.monotonic() > deadline and (state := self.status.state) not in FINAL_RESTORE_STATES:
                raise TimeoutError(f"restore {self.id} is still {state} after {timeout} seconds")
        ended = self.status
        hot = self.template
        if self.export is not None and hot is not None and ended.state is RestoreState.COMPLETE:
            write_hot(hot, self.export)
        return ended

    def resume(self) -> None:
        """Go on with what is not restored yet; RestoreError unless the restore has failed or was cancelled."""
        epoch = _ledger().resume(self.id)
        if not epoch:
            raise RestoreError(
                f"restore {self.id} is {self.status.state}: only a failed or cancelled one is resumed"
            )
        _start(self.id, epoch)

    def cancel(self) -> None:
        """Stop the restore: nothing new is begun; RestoreError if it has ended already."""
        while (state := self.status.state) not in FINAL_RESTORE_STATES:
            if _ledger().move(self.id, state, RestoreState.CANCELLED, "cancelled by its user"):
                return
        raise RestoreError(f"restore {self.id} is {state}: there is nothing to cancel")

    def complaints(self) -> list[str]:
        """Return what is missing for the restore to move: a worker on a queue it needs, or beat."""
        from kombu.exceptions import OperationalError

        from restore_worker.app import app

        try:
            answers = app.control.inspect(timeout=1.0).active_queues() or {}
        except OperationalError:
            return ["Redis does not answer"]
        attended = {queue["name"] for queues in answers.values() for queue in queues}
        left = (each for each in self.resources if each.state not in SETTLED_RESOURCE_STATES)
        needed = {QUEUE, RECONCILE_QUEUE} | {each.node.queue for each in left}
        found = [f"no worker on queue {queue}" for queue in sorted(needed - attended)]
        silent = _ledger().unreconciled_seconds()
        if silent is None:
            found.append("no beat has run yet")
        elif silent > QUIET_SECONDS:
            found.append(f"no beat for {silent:.0f} s")
        return found


def named_bank(bank: str | Path | None = None) -> Bank:
    """Open the bank in a directory or at a URL, by default that of the environment's ``RESTORE_BANK``.

    Raises RestoreError if there is none.
    """
    url = bank or settings.load().bank
    if not url:
        raise RestoreError("no bank is named: give its directory or URL, or set RESTORE_BANK")
    return open_bank(str(url))


def _refuse_cloud(cloud: str | None, *, create_stack: bool) -> None:
    if cloud:
        raise RestoreError(
            f"this version cannot build on a cloud yet: leave out --cloud (cloud={cloud!r}) to get the template"
        )
    if create_stack and (default := settings.load().cloud):
        raise RestoreError(
            f"OS_CLOUD names the cloud {default!r}, but this version cannot build on a cloud yet: ask for the "
            "template alone with --no-stack (create_stack=False), or unset OS_CLOUD"
        )


def _ledger() -> Ledger:
    return _connected(settings.load())


@functools.lru_cache(maxsize=4)
def _connected(current: Settings) -> Ledger:
    from restore_worker.ledger import connect

    # Somebody waits for the answer: that Redis is not there shall be told soon.
    return connect(current, retries=4)


def _start(restore_id: str, epoch: int) -> None:
    from kombu.exceptions import OperationalError

    from restore_worker import canvas
    from restore_worker.app import app

    try:
        canvas.send_preflight(app, restore_id, epoch)
    except OperationalError as error:
        # It is written down, and the reconciler sends what is overdue: a second submit would do it twice.
        logger.warning("restore %s begins later, since its first message was not sent: %s", restore_id, error)


def _new_restore(made: Plan) -> NewRestore:
    return NewRestore(
        id=str(uuid.uuid4()),
        checkpoint=made.checkpoint.id,
        plan=made.checkpoint.plan.name,
        bank=made.bank.url,
        cloud="",
        description=made.description,
        nodes=[
            Node(
                index,
                planned.resource.type,
                planned.resource.id,
                planned.resource.name,
                QUEUE if planned.data is None else TRANSFER_QUEUE,
            )
            for index, planned in enumerate(made.resources)
        ],
        children=[planned.children for planned in made.resources],
        work=[planned.work.model_dump_json() for planned in made.resources],
        findings=json.dumps(made.findings),
    )
