"""What a worker process is at may be broken off, but not in the middle of making something."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

# Why what was broken off waits for another worker.
WORKER_STOPPED = "its worker stopped"


class Stopped(BaseException):
    """The worker ends: what was begun is another's to go on with. No Exception: no plugin shall mend it."""


class Attempts:
    """The attempts that this process makes, one a thread at most."""

    def __init__(self) -> None:
        # Reentrant: a signal's handler may come between.
        self._lock = threading.RLock()
        # By thread, how many blocks it is in that must not be disturbed.
        self._undisturbed: dict[int, int] = {}
        # Threads that something was thrown at.
        self._struck: set[int] = set()
        self._stopping = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the block as an attempt: `stop` ends it with Stopped."""
        thread = threading.get_ident()
        try:
            with self._lock:
                self._undisturbed[thread] = 0
            self.go_on()
            yield
        finally:
            with self._lock:
                self._undisturbed.pop(thread, None)
                # What was thrown and has not arrived would arrive in somebody else's code. If nothing was thrown,
                # Python before 3.13 would look for it at each call in all threads, for good, and hang when traced.
                if thread in self._struck:
                    _throw(thread, None)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Let the block come to its end even if the process is to stop; then it is time, here or in `go_on`."""
        thread = threading.get_ident()
        self.go_on()
        with self._lock:
            inside = self._undisturbed.get(thread)
            if inside is not None:
                self._undisturbed[thread] = inside + 1
        try:
            yield
        finally:
            with self._lock:
                if inside is not None:
                    self._undisturbed[thread] = inside
        self.go_on()

    def go_on(self) -> None:
        """Return unless this is an attempt of a process that is to stop; then raise Stopped."""
        if self._stopping and threading.get_ident() in self._undisturbed:
            raise Stopped

    def stop(self) -> None:
        """Have all attempts end, and none begin; raises Stopped if the caller interrupts one in its own thread."""
        here = threading.get_ident()
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            free = [thread for thread, blocks in self._undisturbed.items() if not blocks]
            for thread in free:
                if thread != here:
                    self._struck.add(thread)
                    _throw(thread, Stopped)
        if here in free:
            raise Stopped


def _throw(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in another thread as soon as that runs Python; None takes it back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error and ctypes.py_object(error))
