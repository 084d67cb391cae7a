"""The program `restore-worker`: its commands, its log, its exit codes.

Exit codes: 0 done, 1 the restore or the request failed, 2 wrong usage. stdout carries results, stderr the talk.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from importlib.metadata import EntryPoint

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

from restore_worker import __version__, facts
from restore_worker.errors import RestoreError, printable

# What a shell reports of a program that wrote to nobody: 128 and the number of SIGPIPE.
_BROKEN_PIPE = 141
# Where each command is. A module is imported only once its command runs, or help lists it.
_COMMANDS = {
    "cancel": "restore_worker.cli.verbs:Cancel",
    "checkpoint list": "restore_worker.cli.checkpoint:CheckpointList",
    "checkpoint show": "restore_worker.cli.checkpoint:CheckpointShow",
    "destroy": "restore_worker.cli.verbs:Destroy",
    "doctor": "restore_worker.cli.doctor:Doctor",
    "drill": "restore_worker.cli.submit:Drill",
    "graph": "restore_worker.cli.graph:Graph",
    "flower": "restore_worker.cli.up:Flower",
    "forget": "restore_worker.cli.verbs:Forget",
    "list": "restore_worker.cli.restores:List",
    "metrics": "restore_worker.cli.metrics:Metrics",
    "plan": "restore_worker.cli.plan:Plan",
    "report": "restore_worker.cli.report:Report",
    "resume": "restore_worker.cli.verbs:Resume",
    "show": "restore_worker.cli.restores:Show",
    "sitemap check": "restore_worker.cli.sitemap:SitemapCheck",
    "sitemap draft": "restore_worker.cli.sitemap:SitemapDraft",
    "submit": "restore_worker.cli.submit:Submit",
    "template": "restore_worker.cli.restores:Template",
    "up": "restore_worker.cli.up:Up",
    "watch": "restore_worker.cli.restores:Watch",
    "worker": "restore_worker.cli.up:Worker",
}


class RestoreApp(App):
    """The frame of all commands."""

    NAME = "restore-worker"
    LOG = logging.getLogger("restore_worker")

    def __init__(self) -> None:
        commands = CommandManager()
        for name, where in _COMMANDS.items():
            commands.commands[name] = EntryPoint(name, where, "restore_worker.cli")
        super().__init__(
            "Brings a protected OpenStack application back: a Karbor checkpoint becomes a Heat stack.",
            __version__,
            commands,
            deferred_help=True,
        )

    def configure_logging(self) -> None:
        """Show on stderr what this program says, and of the libraries' talk warnings, unless -v asks for more."""
        super().configure_logging()
        # By what -q makes 0, nothing 1, and each -v one more.
        levels = (logging.WARNING, logging.WARNING, logging.INFO, logging.DEBUG)
        verbosity = min(self.options.verbose_level, 2)
        logging.getLogger().setLevel(levels[verbosity])
        self.LOG.setLevel(levels[verbosity + 1])
        # A command says what it did in its own words.
        logging.getLogger(facts.__name__).setLevel(levels[verbosity])
        if self.options.verbose_level <= 1:
            # That it did not find Keystone is what our own error says.
            logging.getLogger("keystoneauth.identity").setLevel(logging.ERROR)
        for handler in logging.getLogger().handlers:
            handler.addFilter(_harmless)

    def clean_up(self, cmd: Command, result: int, err: BaseException | None) -> None:  # noqa: ARG002 - cliff's call
        """Say of an error that is no user's what to do with it; cliff has printed it."""
        if isinstance(err, Exception) and not isinstance(err, (RestoreError, OSError)):
            self.LOG.error("This is a bug in restore-worker: run the command again with --debug, and report it.")


def _harmless(record: logging.LogRecord) -> bool:
    """Take from a message what could steer a terminal, wherever its words come from."""
    record.msg = "\n".join(map(printable, record.getMessage().split("\n")))
    record.args = None
    return True


def main(argv: list[str] | None = None) -> int:
    """Run a command line (default: this process's) and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name of a resource may hold what the terminal's encoding does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = RestoreApp().run((sys.argv[1:] if argv is None else argv) or ["help"])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output has gone: nothing to write to, also not at this process's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    return code
