"""`doctor`: whether all is there that restores need."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cliff.lister import Lister

from restore_worker import settings
from restore_worker.cli.arguments import CommandWithExample, add_bank
from restore_worker.cli.wording import aligned, shown
from restore_worker.diagnosis import Diagnosis, Health
from restore_worker.doctor import examine


class Doctor(CommandWithExample, Lister):
    """Look whether all is there that restores need, and tell what mends what is wrong.

    Redis, workers, queues and beat, the plugins, the bank, and the cloud (without
    --cloud and OS_CLOUD all of clouds.yaml), as seen from this machine. Nothing is
    changed. Exit code 1 if something is wrong; what could not be seen is unknown.
    """

    example = "restore-worker doctor --bank /backups/karbor --cloud target"
    columns = ("Check", "State", "Found", "Mend")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the options."""
        parser = super().get_parser(prog_name)
        add_bank(parser)
        parser.add_argument("--cloud", metavar="NAME", help="the target, by its name in clouds.yaml")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], list[Sequence[Any]]]:
        """Return one row a check."""
        self._found = examine(settings.load(), bank=parsed_args.bank, cloud_name=parsed_args.cloud)
        return self.columns, [
            (shown(each.subject), each.health.value, shown(each.found), each.mend) for each in self._found
        ]

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Print a line for each check, or as the formatter does that was asked for."""
        if parsed_args.formatter == "table" and not parsed_args.columns:
            lines = aligned((each.health.value, each.subject, _told(each)) for each in self._found)
            self.app.stdout.write("\n".join(lines) + "\n")
        else:
            super().produce_output(parsed_args, column_names, data)
        return 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; 1 if something is wrong."""
        return super().run(parsed_args) or int(any(each.health is Health.WRONG for each in self._found))


def _told(found: Diagnosis) -> str:
    return f"{found.found} -> {found.mend}" if found.mend else found.found
