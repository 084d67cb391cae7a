"""A terminal that a test looks at: a program draws on a real pseudo-terminal, and this tells what is seen there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

import pyte

from tests.support.processes import ROOT, wait_until


class Terminal:
    """A program on a terminal of its own. A context manager: at its end the program is killed."""

    def __init__(
        self, command: Sequence[str], width: int, height: int, env: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.HistoryScreen(width, height, history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

        def adopt() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self._program = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=adopt,  # noqa: PLW1509 - there are no threads here
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._master)

    @property
    def screen(self) -> list[str]:
        """What is on the screen now, line by line."""
        self._read()
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What is on the screen and what has left it upwards."""
        self._read()
        above = ["".join(line[column].data for column in sorted(line)) for line in self._screen.history.top]
        return "\n".join([*(line.rstrip() for line in above), *self.screen])

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Return once the text is on the screen."""
        wait_until(lambda: text in "\n".join(self.screen), f"{text!r} on the screen:\n{self.text}", seconds)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def end(self, seconds: float = 30) -> int:
        """Wait for the end of the program; its exit code."""

        def ended() -> bool:
            self._read()
            return self._program.poll() is not None

        wait_until(ended, f"the end of the program on\n{self.text}", seconds)
        self._read()
        return self._program.returncode

    def _read(self) -> None:
        # Once the program is gone, Linux answers EIO.
        with suppress(OSError):
            while select.select([self._master], [], [], 0)[0] and (found := os.read(self._master, 65536)):
                self._stream.feed(found)
