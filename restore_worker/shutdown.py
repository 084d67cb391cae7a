"""How a worker ends: what takes long is handed back, so that another worker goes on with it at once.

The first SIGTERM or SIGINT gives what runs ``worker_soft_shutdown_timeout`` seconds, where Celery's warm shutdown
has no end; another one, or SIGQUIT, gives none. Then attempts at resources, and checks, end with `Stopped`: the
ledger is told, and a message sent for others. What does not even end then is killed: its lease will end.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from billiard import current_process
from celery import bootsteps, current_task
from celery.platforms import EX_FAILURE, EX_OK
from celery.signals import task_prerun
from celery.utils.log import get_logger
from celery.worker import state

from restore_worker import worker

logger = get_logger(__name__)

# How long an attempt may take to hand back what it holds, in seconds.
_LAST_SECONDS = 3.0


class Shutdown(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Ends the worker in time; a step of Celery's, in the worker's main process."""

    # So that it is told to stop before the pool, whose stop waits for all tasks.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._asked = self._at_once = False
        self._pool: Any = None
        self._grace = 0.0

    def start(self, parent: Any) -> None:
        """Take over the signals; Celery's handlers are there before, and in the pool's children others are."""
        self._pool = parent.pool
        self._grace = parent.app.conf.worker_soft_shutdown_timeout
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._note_signal)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop in time, whoever wanted it."""
        self._stop_in_time()

    def terminate(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop at once."""
        self._stop_at_once()

    def _note_signal(self, number: int, frame: object) -> None:  # noqa: ARG002 - a handler's signature
        if _in_child():
            return
        # Celery's loop looks for this between two events.
        state.should_stop = EX_OK
        if number == signal.SIGQUIT or self._asked:
            self._stop_at_once()
        else:
            self._stop_in_time()

    def _stop_in_time(self) -> None:
        if not self._asked:
            self._asked = True
            logger.warning(
                "stops; what still runs in %g seconds is handed back", self._grace, extra={"fact": "worker.stops"}
            )
            # Only a signal's handler may interrupt the main thread, where a pool of one runs its tasks.
            _later(self._grace, lambda: os.kill(os.getpid(), signal.SIGQUIT))

    def _stop_at_once(self) -> None:
        self._asked = True
        if not self._at_once:
            self._at_once = True
            for process in _processes():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGQUIT)
            _later(_LAST_SECONDS, self._give_up)
            worker.attempts().stop()

    def _give_up(self) -> None:
        """Kill what runs: its message goes back to the queue, and a lease that it may have ends by itself."""
        for request in tuple(state.active_requests):
            logger.error("%s does not end: it is killed", request, extra={"fact": "task.killed"})
            if request.worker_pid == os.getpid():
                # A thread cannot be killed.
                os._exit(EX_FAILURE)
            request.cancel(self._pool, "KILL", emit_retry=False)


def _processes() -> set[int]:
    """Return the children of the pool that run a task."""
    return {each.worker_pid for each in state.active_requests if each.worker_pid} - {os.getpid()}


@task_prerun.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _listen(**_: object) -> None:
    """Have a child of the pool do what its worker says; the pool would have it die of these signals."""
    if _in_child() and signal.getsignal(signal.SIGTERM) is not _leave_if_idle:
        signal.signal(signal.SIGTERM, _leave_if_idle)
        signal.signal(signal.SIGQUIT, lambda *_: worker.attempts().stop())


def _leave_if_idle(*_: object) -> None:
    """Leave it to the worker when a task has to end: many who stop it send SIGTERM to all of its processes."""
    if not current_task:
        os._exit(EX_OK)


def _in_child() -> bool:
    return bool(current_process().name != "MainProcess")


def _later(seconds: float, call: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
