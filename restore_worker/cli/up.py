"""`up`: all that restores need on one machine, in one command; `worker` and `flower`: one of it, anywhere."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from cliff.command import Command

from restore_worker import embedded, settings
from restore_worker.cli.supervisor import Supervisor
from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE
from restore_worker.errors import RestoreError

# What goes to Flower is not encrypted: only this machine may see it.
_FLOWER_HOST = "127.0.0.1"
_FLOWER_PORT = 5555
_FLOWER_USER = "restore"
# Options that say who may look at Flower; given by nobody, a password is made up.
_FLOWER_LOGINS = ("basic_auth", "auth")


class _Program(NamedTuple):
    name: str
    command: list[str]
    # Asked until it says yes; then the next program is started.
    ready: Callable[[], bool] = lambda: True


class Up(Command):
    """Run Valkey, a worker, beat and Flower here, until Ctrl-C.

    With RESTORE_REDIS_URL set, that Redis is used and no Valkey is started. Data is kept in the directory
    RESTORE_HOME, by default ~/.local/state/restore-worker.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the options."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--concurrency", type=int, metavar="N", help="worker processes (default: one a core)")
        parser.add_argument("--no-flower", action="store_true", help="do without Flower, the web page of tasks")
        parser.add_argument("--flower-port", type=int, default=_FLOWER_PORT, metavar="PORT", help="default: 5555")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run until a signal comes (0) or one of the programs ends (1)."""
        # Nobody else reads what Valkey and the others write.
        os.umask(0o077)
        current = settings.load()
        concurrency = parsed_args.concurrency or current.concurrency
        port = None if parsed_args.no_flower else parsed_args.flower_port
        with ExitStack() as stack:
            # All programs hold the lock, so that it is free only once the last of them is gone.
            locks = [] if current.redis else [stack.enter_context(embedded.ownership(current.home))]
            if port is not None:
                _check_free(port)
            supervisor = stack.enter_context(Supervisor(self._tell, locks))
            for program in self._programs(None if current.redis else current.home, concurrency, port):
                supervisor.start(program.name, program.command)
                if not supervisor.wait(program.ready):
                    break
            else:
                where = f" Flower: http://{_FLOWER_HOST}:{port}." if port is not None else ""
                self._tell("up", f"ready for restores.{where} Ctrl-C stops everything.")
            ended = supervisor.wait_for_end()
        self._tell("up", f"{ended}, so everything was stopped" if ended else "stopped")
        return 1 if ended else 0

    def _programs(self, home: Path | None, concurrency: int | None, flower_port: int | None) -> Iterator[_Program]:
        """Yield what to start, in this order; home: where Valkey keeps its data, None if Redis is elsewhere."""
        if home:
            self._tell("up", f"Valkey keeps its data in {home}")
            yield _Program("valkey", embedded.command(home), lambda: embedded.address(home) is not None)
        options = ["--concurrency", str(concurrency)] if concurrency else []
        if flower_port is not None:
            # Task events are what Flower lives on; without it they would only cost.
            options.append("--task-events")
        # Flower and beat come after the worker that they ask.
        yield _Program("worker", _worker(*options), lambda: self._worker_ready)
        # Beat's periods are seconds: nothing to remember over a restart.
        yield _Program("beat", _celery("beat", "--scheduler", "celery.beat:Scheduler"))
        if flower_port is not None:
            flower = [sys.executable, "-m", "restore_worker", "flower"]
            yield _Program("flower", [*flower, f"--port={flower_port}", "--logging=warning"])

    _worker_ready = False

    def _tell(self, name: str, line: str) -> None:
        # What follows depends on the form of the log.
        self._worker_ready |= name == "worker" and " ready." in line
        self.app.stdout.write(f"{name:<6} | {line}\n")
        self.app.stdout.flush()


class Worker(Command):
    """Run one more worker.

    It works for the Redis that RESTORE_REDIS_URL names, or for that of `up`. Further options are those of
    `celery worker`: --concurrency 8, or --queues transfer for one that only moves image and volume bytes.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser, which leaves everything to Celery's."""
        parser = super().get_parser(prog_name)
        parser.add_argument("options", nargs=argparse.REMAINDER, help="options of `celery worker`")
        # Else argparse would refuse the options of another program.
        parser.prefix_chars = "\0"
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Become a Celery worker."""
        settings.load().redis_address()
        command = _worker(*parsed_args.options)
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted


class Flower(Command):
    """Run Flower, the web page of tasks and workers, on this machine's port 5555.

    It asks for a login: unless one is configured (--basic-auth USER:PASSWORD, FLOWER_BASIC_AUTH, or another of
    Flower's ways), a password is made up and shown once. Further options are those of `celery flower`.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser, which leaves everything to Flower's."""
        parser = super().get_parser(prog_name)
        parser.add_argument("options", nargs=argparse.REMAINDER, help="options of `celery flower`")
        parser.prefix_chars = "\0"
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Tell the login that was made up, if it was, and become Flower."""
        settings.load().redis_address()
        options = [f"--address={_FLOWER_HOST}", "--persistent=False", *parsed_args.options]
        # The environment, unlike a command line, is seen by this user alone.
        environment = dict(os.environ)
        if not _has_login(options, environment):
            password = secrets.token_urlsafe(12)
            environment["FLOWER_BASIC_AUTH"] = f"{_FLOWER_USER}:{password}"
            self.app.stdout.write(f"Flower lets in user {_FLOWER_USER} with password {password}\n")
            self.app.stdout.flush()
        # Not quiet: it tells where it is to be found.
        command = [sys.executable, "-m", "celery", "--app=restore_worker.app", "flower", *options]
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


def _has_login(options: Sequence[str], environment: Mapping[str, str]) -> bool:
    names = {each.split("=")[0].lstrip("-").replace("-", "_") for each in options if each.startswith("-")}
    return any(name in names or environment.get(f"FLOWER_{name.upper()}") for name in _FLOWER_LOGINS)


def _worker(*options: str) -> list[str]:
    name = f"restore-{os.getpid()}@%h"
    # Gossip and mingle tell workers of each other, which nobody here needs.
    return _celery(
        *(
            "worker",
            f"--queues={QUEUE},{TRANSFER_QUEUE},{RECONCILE_QUEUE}",
            f"--hostname={name}",
            "--loglevel=INFO",
        ),
        *("--without-gossip", "--without-mingle", *options),
    )


def _celery(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--quiet", "--app=restore_worker.app", *arguments]


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_FLOWER_HOST, port))
        except OSError as error:
            raise RestoreError(
                f"Flower cannot have port {port} ({error.strerror}): "
                "name another with --flower-port, or do without it with --no-flower"
            ) from None
