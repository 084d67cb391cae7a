"""`list`, `show`, `watch` and `template`: what is known of restores that were submitted."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne

from restore_worker import restore
from restore_worker.cli.arguments import STDOUT, CommandWithExample, templates_to_write
from restore_worker.cli.progress import follow, follow_as_json, follow_on_screen
from restore_worker.cli.wording import Shown, aligned, drill, grouped_findings, moment, owned, shown
from restore_worker.entries import ResourceProgress, StackLog
from restore_worker.errors import RestoreError, printable
from restore_worker.export import only, write_hots
from restore_worker.states import FINAL_RESTORE_STATES

logger = logging.getLogger(__name__)


class List(CommandWithExample, Lister):
    """List the restores, newest first."""

    example = "restore-worker list -f json"
    columns = ("ID", "State", "Plan", "Checkpoint", "Resources", "Left", "Failed", "Created", "Drill")

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], list[Sequence[Any]]]:  # noqa: ARG002 - cliff's call
        """Return one row a restore."""
        return self.columns, [
            (
                each.id,
                each.state.value,
                shown(each.plan),
                each.checkpoint,
                each.size,
                each.left,
                each.failed,
                moment(each.created),
                drill(each),
            )
            for each in restore.list_restores()
        ]


class OfOneRestore(CommandWithExample):
    """A command with the id of a restore."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the id."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id", metavar="ID", help="id of the restore, as `submit` printed it")
        return parser


class Show(OfOneRestore, ShowOne):
    """Show how a restore stands.

    Its state and why, its resources, what exists on the target because of it
    (new ids in the place of which old ones, and addresses), and what comes back
    differently. People are spared mere links, such as attachments; -f json has
    them too. What it waits for in vain is told on stderr.
    """

    example = "restore-worker show 5f0c4a9e-... -c state -c reason"
    columns = (
        *("id", "state", "reason", "checkpoint", "plan", "bank", "cloud", "created", "updated"),
        *("drill", "priority", "size", "left", "failed", "resources", "stacks", "belongings", "findings"),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Return the restore's fields."""
        found = restore.get(parsed_args.id)
        record = found.status
        if record.state not in FINAL_RESTORE_STATES:
            for complaint in found.complaints():
                logger.warning(complaint)
        return self.columns, (
            record.id,
            record.state.value,
            shown(record.reason),
            record.checkpoint,
            shown(record.plan),
            record.bank,
            shown(f"{record.cloud}: {record.identity}" if record.cloud else ""),
            moment(record.created),
            moment(record.updated),
            drill(record),
            record.priority.value,
            record.size,
            record.left,
            record.failed,
            _resources(found.resources),
            _stacks(found.stacks),
            owned(found.belongings),
            grouped_findings(found.findings),
        )


class Watch(OfOneRestore):
    """Show how a restore goes on, until it ends.

    On a terminal all of it is on one screen: its phases, its resources below
    what depends on them (by type, and those at work, where they are too many),
    what Heat builds, and when nobody works on it. Elsewhere it is one line a
    fact. Ctrl-C ends the looking, not the restore. Exit code 1 if that fails or
    was cancelled.
    """

    example = "restore-worker watch 5f0c4a9e-..."

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of id and form."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "-f",
            "--format",
            choices=("screen", "lines", "json"),
            help="json is an object a line for each event (default: screen on a terminal, else lines)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Follow the restore in the form that is wanted."""
        found = restore.get(parsed_args.id)
        match parsed_args.format or ("screen" if self.app.stdout.isatty() else "lines"):
            case "screen":
                follow_on_screen(found, self.app.stdout)
            case "json":
                follow_as_json(found, self._tell)
            case _:
                follow(found, self._tell)

    def _tell(self, line: str) -> None:
        self.app.stdout.write(f"{line}\n")
        self.app.stdout.flush()


class Template(OfOneRestore):
    """Print the template of a restore, or write it into a file."""

    example = "restore-worker template 5f0c4a9e-... --output app.yaml"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of id and file."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--output",
            type=templates_to_write,
            metavar="FILE",
            default=STDOUT,
            help="file to write; known values of its parameters go beside it (app.yaml: app.env.yaml); if there "
            "are several templates, FILE is a directory of them",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Write the template."""
        found = restore.get(parsed_args.id)
        hots = found.templates
        if not hots:
            state = found.status.state
            why = "there is nothing for Heat to build" if state in FINAL_RESTORE_STATES else "not yet"
            raise RestoreError(f"restore {found.id} is {state} and has no template: {why}")
        if parsed_args.output == STDOUT:
            self.app.stdout.buffer.write(only(hots).text.encode())
        else:
            write_hots(hots, parsed_args.output)


def _stacks(logs: Mapping[str, StackLog]) -> Shown:
    there = {name: log for name, log in logs.items() if log.status}
    machine = [
        {"name": name, "id": log.id, "status": log.status, "reason": log.reason} for name, log in there.items()
    ]
    return Shown(machine, "\n".join(printable(f"{log.status} {log.id}".strip()) for log in there.values()))


def _resources(resources: Sequence[ResourceProgress]) -> Shown:
    machine = [
        {
            "type": each.node.type,
            "id": each.node.id,
            "name": each.node.name,
            "state": each.state.value,
            "reason": each.reason,
            "attempts": each.attempts,
            "worker": each.worker,
            "started": moment(each.started),
            "ended": moment(each.ended),
        }
        for each in resources
    ]
    rows = [(each.state.value, each.node.type, each.node.name, each.node.id, each.reason) for each in resources]
    return Shown(machine, "\n".join(aligned(rows)))
