"""Small restores that end in all the ways that there are without a cloud, in workers of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from restore_worker import restore, submitted
from restore_worker.ledger import Ledger
from restore_worker.states import ResourceState, RestoreState
from tests.support.processes import wait_until
from tests.support.steps import Steps

DAY = 86400
# Ten resources: a diamond, then one after the other.
CHILDREN = ([], [0], [0], [1, 2], [], [3, 4], [5], [6], [7], [8])
# In the middle of them.
HELD = 3
# For what waits behind all others of its batch, on a machine with other work.
SECONDS = 120


class Endings:
    """Submits restores and sees them to their ends, of ten in turn five complete at once."""

    def __init__(self, steps: Steps, banks: int = 20) -> None:
        self._obstacle = steps.folder / "obstacle"
        told = {"ends": "held", "obstacle": str(self._obstacle)}
        # More than a worker keeps open.
        self._plain = [steps.write(CHILDREN) for _ in range(banks)]
        self._held = steps.write(CHILDREN, {HELD: told})
        self._slow = steps.write(CHILDREN, {HELD: {"ends": "slow"}})
        self._failing = steps.write(CHILDREN, {HELD: {"ends": "failed"}})
        self._submitted = 0

    def run(self, count: int) -> Counter[RestoreState]:
        """Run so many restores, a multiple of ten; how many ended how."""
        running = [self._stopped() for _ in range(count // 5)]
        for each in running[::2]:
            each.resume()
        for _ in range(count // 10):
            banks = (*(self._next() for _ in range(5)), self._slow, self._failing, self._failing)
            running += [_submit(bank) for bank in banks]
        return Counter(each.wait(SECONDS).state for each in running)

    def _next(self) -> Path:
        self._submitted += 1
        return self._plain[self._submitted % len(self._plain)]

    def _stopped(self) -> restore.Restore:
        """Cancel a restore while one of its resources is at work, and others are done."""
        self._obstacle.touch()
        stopped = _submit(self._held)

        def state() -> ResourceState:
            return next(each.state for each in stopped.resources if each.node.id == f"s{HELD}")

        wait_until(lambda: state() is ResourceState.RUNNING, "it is at work", SECONDS)
        stopped.cancel()
        self._obstacle.unlink()
        wait_until(lambda: state() is ResourceState.WAITING, "its worker has let it go", SECONDS)
        return stopped


def _submit(bank: Path) -> restore.Restore:
    return restore.submit("latest", bank=bank, create_stack=False)


@contextmanager
def short_lives(client: redis.Redis, seconds: float) -> Iterator[None]:
    """Have what ends here, or in workers started now with tests.support.short_lives, kept for some seconds."""
    ledger = Ledger(client, keep_days=seconds / DAY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEEP_SECONDS", str(seconds))
        patch.setattr(submitted, "caller_ledger", lambda: ledger)
        yield
