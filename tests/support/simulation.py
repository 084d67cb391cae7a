"""Celery as the worst it may be, in this process: it drops, repeats and reorders messages, and its workers die.

Simulated: messages, chords, workers, Heat and time. Real: the tasks, and the ledger's twin below them. A worker runs
one task to its end unless a plugin or Heat lets it wait: then others run meanwhile, so that leases end under their tasks.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore, Retry

from restore_worker import attempt, canvas, creation, discarding, poller, step, tasks, worker
from restore_worker.entries import QUEUE, Node, Priority, RestoreRecord
from restore_worker.registry import AnyPlugin, Registry
from restore_worker.settings import Settings
from tests.support.ledger_twin import LedgerTwin
from tests.support.simulated_heat import SimulatedHeat

BEAT_SECONDS = 5.0


class WorkerDied(BaseException):
    """The process is gone, in the midst of a task."""


@dataclass(frozen=True)
class Message:
    task: str
    restore_id: str
    id: str
    index: int | None = None
    queue: str = QUEUE
    chord: str | None = None
    priority: Priority = Priority.HIGH
    retries: int = 0


@dataclass
class Chord:
    size: int = 0
    returned: set[str] = field(default_factory=set)
    called: bool = False


class SimulatedCelery:
    """A broker with its workers and beat.

    trouble: how likely each step goes wrong, from 0 to 1.
    """

    def __init__(self, seed: int, trouble: float, plugins: Callable[[SimulatedCelery], list[AnyPlugin]]) -> None:
        self.random = random.Random(seed)
        self.trouble = trouble
        self.now = 1_800_000_000.0
        self.ledger = LedgerTwin(lambda: self.now, share=2)
        self.delivered = 0
        # Something that happens from outside, while tasks run.
        self.interrupted_at = 0
        self.interrupt: Callable[[], object] = lambda: None
        self.sent = 0
        self.heat = SimulatedHeat(self)
        # Built beside stacks: physical ids by original ids.
        self.volumes: dict[str, str] = {}
        self._messages: list[tuple[float, Message]] = []
        self._chords: dict[str, Chord] = {}
        self._depth = 0
        self._registry = Registry(plugins(self))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the tasks send to this Celery and write to its ledger."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker, "current_ledger", lambda: self.ledger)
            patch.setattr(worker, "current_settings", lambda: Settings(home="/nowhere"))
            patch.setattr(worker, "leases", _NoLeases)
            patch.setattr(worker, "bank_of", lambda _: None)
            patch.setattr(tasks, "check", self._check)
            patch.setattr(canvas, "oldest", self._oldest)
            for module in (attempt, discarding):
                patch.setattr(module, "installed", lambda: self._registry)
            for module in (creation, poller):
                patch.setattr(module, "Heat", lambda _: self.heat)
            # No stack here has volumes.
            patch.setattr(creation, "connect", lambda _: SimpleNamespace(block_storage=None))
            for module in (creation, poller, discarding):
                patch.setattr(module, "same_cloud", lambda *_: None)
            for module in (step, poller):
                patch.setattr(module, "datetime", SimpleNamespace(now=self._clock))
            for name in ("send_preflight", "send_resources", "send_body", "send_create_stack", "send_discard"):
                patch.setattr(canvas, name, getattr(self, name))
            patch.setattr(canvas, "declare", self._declare)
            # What is left of a chord does nothing.
            patch.setattr(canvas, "close", lambda *_: None)
            for task in _TASKS.values():
                patch.setattr(task, "retry", _retry)
            yield

    # What the canvas asks of Celery

    def send_preflight(self, _app: object, restore_id: str, epoch: int) -> None:
        self._send(Message(canvas.PREFLIGHT, restore_id, f"{restore_id}.{epoch}.preflight"))

    def _declare(self, _app: object, restore_id: str, epoch: int, size: int) -> None:
        self._chords.setdefault(f"{restore_id}.{epoch}", Chord()).size = size

    def send_resources(
        self, _app: object, restore_id: str, epoch: int, nodes: Iterable[Node], priority: Priority
    ) -> None:
        group = f"{restore_id}.{epoch}"
        for node in nodes:
            assert group in self._chords, "its size is declared before anything is sent into a chord"
            self.maybe_die()
            self._send(
                Message(
                    *(canvas.RESTORE_RESOURCE, restore_id, f"{group}.{node.index}"),
                    *(node.index, node.queue, group, priority),
                )
            )

    def send_body(self, _app: object, restore_id: str) -> None:
        self._send_once(canvas.ASSEMBLE, restore_id)

    def send_create_stack(self, _app: object, restore_id: str) -> None:
        self._send_once(canvas.CREATE_STACK, restore_id)

    def send_discard(self, _app: object, restore_id: str) -> None:
        self._send_once(canvas.DISCARD, restore_id)

    def _send_once(self, task: str, restore_id: str) -> None:
        self.sent += 1
        self._send(Message(task, restore_id, f"message {self.sent}"))

    def _oldest(self, _app: object, queue: str, priority: Priority) -> tuple[str, int] | None:
        place = queue, priority
        waiting = (
            each for due, each in self._messages if (each.queue, each.priority) == place and due <= self.now
        )
        first = next(waiting, None)
        return first and (("", 0) if first.index is None else (first.restore_id, first.index))

    def _send(self, message: Message, seconds: float = 0.0) -> None:
        copies = 0 if self.goes_wrong() else 2 if self.goes_wrong() else 1
        self._messages += [(self.now + seconds, message)] * copies

    def _check(self, _ledger: object, record: RestoreRecord) -> None:
        if record.cloud:
            self.heat.trip()

    def _clock(self, zone: tzinfo) -> datetime:
        return datetime.fromtimestamp(self.now, zone)

    # What happens

    def goes_wrong(self) -> bool:
        return self.random.random() < self.trouble

    def maybe_die(self) -> None:
        if self.goes_wrong():
            raise WorkerDied

    def pause(self, seconds: float) -> None:
        """Let the others work while a task waits."""
        if self._depth >= 3:
            return
        self._depth += 1
        until = self.now + seconds
        while self.now < until and (due := [each for each in self._messages if each[0] <= until]):
            self._deliver(self.random.choice(due))
        self._beat()
        self.now = max(self.now, until)
        self._depth -= 1

    def lose_messages(self) -> None:
        self._messages.clear()

    def run(self, over: Callable[[], bool], *, drain: bool = True) -> None:
        """Work until it is over, with a beat; drain: and then until no message is left, without one."""
        next_beat = self.now
        for _ in range(200_000):
            ended = over()
            if ended and not (drain and self._messages):
                return
            if not ended and self.now >= next_beat:
                self._beat()
                next_beat = self.now + BEAT_SECONDS
            ready = [each for each in self._messages if each[0] <= self.now]
            if ready:
                self._deliver(self.random.choice(ready))
            else:
                self.now = min([*(due for due, _ in self._messages), *([] if ended else [next_beat])])
        raise AssertionError("it does not end")

    def _beat(self) -> None:
        for task in (tasks.reconcile, tasks.poll_stacks):
            with contextlib.suppress(WorkerDied):
                task.run()

    def _deliver(self, entry: tuple[float, Message]) -> None:
        self._messages.remove(entry)
        self.delivered += 1
        if self.delivered == self.interrupted_at:
            self.interrupt()
        self.now = max(self.now, entry[0])
        message = entry[1]
        try:
            self._work(message)
        except WorkerDied:
            # Its messages come back when the broker finds that it is gone, or never.
            self._send(message, seconds=self.random.choice([1.0, 60.0, 3600.0]))
        except Ignore:
            # Acknowledged, but no part of its chord.
            pass
        except Retry as retry:
            self._send(replace(message, retries=message.retries + 1), seconds=float(retry.when))

    def _work(self, message: Message) -> None:
        self.maybe_die()
        task = _TASKS[message.task]
        task.push_request(retries=message.retries)
        try:
            task.run(*(each for each in (message.restore_id, message.index) if each is not None))
        finally:
            task.pop_request()
        # It has ended, but nobody knows.
        self.maybe_die()
        if message.task == canvas.RESTORE_RESOURCE:
            self._part_returned(message)
        elif message.task == canvas.ASSEMBLE:
            self.send_create_stack(None, message.restore_id)
        self.maybe_die()

    def _part_returned(self, message: Message) -> None:
        chord = self._chords[str(message.chord)]
        chord.returned.add(message.id)
        full = len(chord.returned) == chord.size and not chord.called
        chord.called = chord.called or full
        # One that comes too early must do nothing.
        if full or self.goes_wrong():
            self.send_body(None, message.restore_id)


_TASKS = {
    canvas.PREFLIGHT: tasks.preflight,
    canvas.RESTORE_RESOURCE: tasks.restore_resource,
    canvas.ASSEMBLE: tasks.assemble_template,
    canvas.CREATE_STACK: tasks.create_stack,
    canvas.DISCARD: tasks.discard,
}


class _NoLeases:
    """No thread renews a lease: time passes only where a task pauses."""

    def holding(self, *_lease: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _retry(countdown: float) -> Any:
    raise Retry(when=countdown)
