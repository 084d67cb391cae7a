"""Kills at every step: a worker that dies at its n-th call to the cloud, piece of data, or note in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from openstack.connection import Connection

from tests.support.fakes import FakeContext


class Killed(BaseException):
    """The process is no more; nothing that it would do on its way out happens either."""


@dataclass
class Mortal:
    """A process with so many steps to live."""

    steps: int
    dead: bool = False

    def step(self) -> None:
        if self.steps <= 0:
            self.dead = True
        if self.dead:
            raise Killed
        self.steps -= 1

    @contextmanager
    def life(self, connection: Connection) -> Iterator[None]:
        """Run the block until it is killed; each request is two steps: before it is sent, after it is answered."""
        send = connection.session.request

        def request(*args: Any, **options: Any) -> Any:
            self.step()
            answer = send(*args, **options)
            self.step()
            return answer

        connection.session.request = request
        try:
            with suppress(Killed):
                yield
        finally:
            del connection.session.request


def lives() -> Iterator[Mortal]:
    """Yield processes that die one step later each, until one lives to the end of what it does."""
    for steps in range(1000):
        mortal = Mortal(steps)
        yield mortal
        if not mortal.dead:
            return
    raise AssertionError("it goes on for ever")


@dataclass
class MortalContext(FakeContext):
    """The context of a process that may die at each piece of data and each note; what it noted in ``made`` stays."""

    mortal: Mortal = field(default_factory=lambda: Mortal(0))

    def read_data(self) -> Iterator[bytes]:
        for piece in super().read_data():
            self.mortal.step()
            yield piece

    def once(self, key: str, create: Callable[[], str], find: Callable[[], str | None]) -> str | None:
        physical_id = self.made.get(key) or find() or create()
        self.mortal.step()
        self.made[key] = physical_id
        return physical_id

    def gone(self, key: str) -> None:
        self.mortal.step()
        super().gone(key)
