"""One Valkey, workers as a deployment starts them, and restores from the first write to the end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restore_worker import restore
from restore_worker.states import RestoreState
from tests.support.processes import ROOT, redis_server, start_worker

_STRANGER = str(ROOT / "tests/support/stranger")


@contextmanager
def deployment() -> Iterator[str]:
    """Run a Valkey that this process and its workers take for theirs, with the plugin of steps installed; its URL."""
    sys.path.append(_STRANGER)
    with redis_server() as url:
        os.environ["RESTORE_REDIS_URL"] = url
        yield url


@contextmanager
def worker(pool: str, concurrency: int) -> Iterator[None]:
    """Run one worker."""
    with tempfile.TemporaryDirectory() as scratch:
        program = start_worker(
            Path(scratch) / "worker.log",
            pool=pool,
            concurrency=concurrency,
            options=["--include=benchmarks.noop"],
            env={"PYTHONPATH": _STRANGER},
        )
        try:
            yield
        finally:
            program.stop()


def run(bank: Path) -> dict[str, float]:
    """Restore the bank's only checkpoint; when it came to each of its states, in seconds since 1970."""
    submitted = restore.submit("latest", bank=bank, create_stack=False)
    ended = submitted.wait(600)
    if ended.state is not RestoreState.COMPLETE:
        raise RuntimeError(f"the restore ended {ended.state}: {ended.reason}")
    events = restore.get(submitted.id).watch()
    return {event.name: event.time.timestamp() for event in events if event and event.index is None}
