"""Celery as the worst it may be, in this process: it drops, repeats and reorders messages, and its workers die.

Simulated: messages, chords, workers and time. Real: the tasks, and the ledger's twin below them. A worker runs one
task to its end unless the task's plugin waits: then others run meanwhile, so that leases end under their tasks.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery.exceptions import Ignore, Retry

from restore_worker import canvas, tasks
from restore_worker.entries import QUEUE, Node
from restore_worker.registry import AnyPlugin, Registry
from restore_worker.settings import Settings
from tests.support.ledger_twin import LedgerTwin

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
        self.ledger = LedgerTwin(lambda: self.now)
        self.delivered = 0
        # Something that happens from outside, while tasks run.
        self.interrupted_at = 0
        self.interrupt: Callable[[], object] = lambda: None
        self.bodies = 0
        self._messages: list[tuple[float, Message]] = []
        self._chords: dict[str, Chord] = {}
        self._depth = 0
        self._registry = Registry(plugins(self))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the tasks send to this Celery and write to its ledger."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "_ledger", lambda: self.ledger)
            patch.setattr(tasks, "_settings", lambda: Settings(home="/nowhere"))
            patch.setattr(tasks, "_leases", _NoLeases)
            patch.setattr(tasks, "_check", lambda _: None)
            patch.setattr(tasks, "_has_messages", self._has_messages)
            patch.setattr(tasks, "bank_of", lambda _: None)
            patch.setattr(tasks, "installed", lambda: self._registry)
            patch.setattr(canvas, "send_preflight", self.send_preflight)
            patch.setattr(canvas, "declare", self._declare)
            patch.setattr(canvas, "send_resources", self._send_resources)
            patch.setattr(canvas, "send_body", self._send_body)
            for task in (tasks.preflight, tasks.restore_resource):
                patch.setattr(task, "retry", _retry)
            yield

    # What the canvas asks of Celery

    def send_preflight(self, _app: object, restore_id: str, epoch: int) -> None:
        self._send(Message(canvas.PREFLIGHT, restore_id, f"{restore_id}.{epoch}.preflight"))

    def _declare(self, _app: object, restore_id: str, epoch: int, size: int) -> None:
        self._chords.setdefault(f"{restore_id}.{epoch}", Chord()).size = size

    def _send_resources(self, _app: object, restore_id: str, epoch: int, nodes: Iterable[Node]) -> None:
        group = f"{restore_id}.{epoch}"
        for node in nodes:
            assert group in self._chords, "its size is declared before anything is sent into a chord"
            self.maybe_die()
            self._send(
                Message(
                    canvas.RESTORE_RESOURCE, restore_id, f"{group}.{node.index}", node.index, node.queue, group
                )
            )

    def _send_body(self, _app: object, restore_id: str) -> None:
        self.bodies += 1
        self._send(Message(canvas.ASSEMBLE, restore_id, f"body {self.bodies}"))

    def _has_messages(self, queue: str) -> bool:
        return any(message.queue == queue and due <= self.now for due, message in self._messages)

    def _send(self, message: Message, seconds: float = 0.0) -> None:
        copies = 0 if self.goes_wrong() else 2 if self.goes_wrong() else 1
        self._messages += [(self.now + seconds, message)] * copies

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
        self.now = max(self.now, until)
        self._depth -= 1

    def run(self, over: Callable[[], bool], *, drain: bool = True) -> None:
        """Work until it is over, with a beat; drain: and then until no message is left, without one."""
        next_beat = self.now
        for _ in range(200_000):
            ended = over()
            if ended and not (drain and self._messages):
                return
            if not ended and self.now >= next_beat:
                with contextlib.suppress(WorkerDied):
                    tasks.reconcile.run()
                next_beat = self.now + BEAT_SECONDS
            ready = [each for each in self._messages if each[0] <= self.now]
            if ready:
                self._deliver(self.random.choice(ready))
            else:
                self.now = min([*(due for due, _ in self._messages), *([] if ended else [next_beat])])
        raise AssertionError("it does not end")

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
            self._send(message, seconds=float(retry.when))

    def _work(self, message: Message) -> None:
        self.maybe_die()
        if message.task == canvas.PREFLIGHT:
            tasks.preflight.run(message.restore_id)
        elif message.task == canvas.RESTORE_RESOURCE:
            tasks.restore_resource.run(message.restore_id, message.index)
            self.maybe_die()
            self._part_returned(message)
        else:
            tasks.assemble_template.run(message.restore_id)
            tasks.create_stack.run(message.restore_id)
        # It has ended, but nobody knows.
        self.maybe_die()

    def _part_returned(self, message: Message) -> None:
        chord = self._chords[str(message.chord)]
        chord.returned.add(message.id)
        full = len(chord.returned) == chord.size and not chord.called
        chord.called = chord.called or full
        # One that comes too early must do nothing.
        if full or self.goes_wrong():
            self._send_body(None, message.restore_id)


class _NoLeases:
    """No thread renews a lease: time passes only where a task pauses."""

    def holding(self, *_lease: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _retry(countdown: float) -> Any:
    raise Retry(when=countdown)
