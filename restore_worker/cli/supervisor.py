"""Runs several programs in the foreground as if they were one."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Self

# How long a program may take to stop, in seconds (workers take 15); then it is killed, with all that it started.
_PATIENCE = 20.0
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """Starts programs, passes on what they print, and waits until one ends or a signal (INT, TERM, HUP) comes.

    A context manager: at its end it stops the programs, the last one started first. A program that takes too long
    is killed, at once if another signal comes.
    """

    def __init__(self, tell: Callable[[str, str], None], keep: Sequence[int] = ()) -> None:
        """Take over the signals.

        tell: called with a program's name and each line of its output.
        keep: descriptors that every program inherits.
        """
        self._tell = tell
        self._keep = keep
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._unfinished: dict[str, bytes] = {}
        self._outputs = selectors.DefaultSelector()
        self._signals = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What is ignored stays ignored: that is how nohup works.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note_signal)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program; its group is its own, so that Ctrl-C in the terminal reaches only the supervisor."""
        program = subprocess.Popen(  # noqa: S603 - the commands are our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._keep,
            preexec_fn=_stop_with_parent,  # noqa: PLW1509 - there are no threads here
        )
        self._programs[name] = program
        self._unfinished[name] = b""
        self._outputs.register(_pipe(program), selectors.EVENT_READ, name)

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds; False if a program ended or a signal came before."""
        while self._signals == 0 and self._ended() is None:
            if condition():
                return True
            self._pass_on(0.1)
        return False

    def wait_for_end(self) -> str | None:
        """Wait until it is time to stop; None if a signal came, else which program ended by itself and how."""
        self.wait(lambda: False)
        name = None if self._signals else self._ended()
        return name and f"{name} ended with {_exit_status(self._programs[name].returncode)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self._programs):
            self._stop(name)

    def _note_signal(self, *_: object) -> None:
        self._signals += 1

    def _ended(self) -> str | None:
        return next((name for name, program in self._programs.items() if program.poll() is not None), None)

    def _stop(self, name: str) -> None:
        program = self._programs[name]
        asked = self._signals
        deadline = time.monotonic() + _PATIENCE
        program.terminate()
        while program.poll() is None and time.monotonic() < deadline and self._signals <= max(asked, 1):
            self._pass_on(0.1)
        # Nobody of its group stays behind, whether it stopped, was killed or died.
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        while self._pass_on(0):
            pass

    def _pass_on(self, timeout: float) -> bool:
        """Tell what was printed, waiting for it at most so many seconds; say whether there was any."""
        ready = self._outputs.select(timeout)
        for key, _ in ready:
            name: str = key.data
            chunk = os.read(key.fd, 65536)
            if not chunk:
                self._outputs.unregister(key.fileobj)
                chunk = b"\n" if self._unfinished[name] else b""
            *lines, self._unfinished[name] = (self._unfinished[name] + chunk).split(b"\n")
            for line in lines:
                self._tell(name, line.decode(errors="replace"))
        return bool(ready)


def _pipe(program: subprocess.Popen[bytes]) -> IO[bytes]:
    if program.stdout is None:
        raise ValueError("started without a pipe for its output")
    return program.stdout


def _stop_with_parent() -> None:
    """Ask the kernel to send SIGTERM to this process once the supervisor is gone, even if that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _exit_status(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
