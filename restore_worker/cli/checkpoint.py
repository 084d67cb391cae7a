"""`checkpoint list` and `checkpoint show`: what a bank holds."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne

from restore_worker.catalogue import list_checkpoints, parse_time, resolve
from restore_worker.checkpoint import Checkpoint, parse_checkpoint
from restore_worker.cli.arguments import CommandWithExample, add_bank, add_checkpoint
from restore_worker.cli.wording import Shown, label, listed, moment, shown
from restore_worker.errors import CheckpointError, printable
from restore_worker.graph import ResourceGraph
from restore_worker.resource import Resource
from restore_worker.restore import named_bank

logger = logging.getLogger(__name__)


class CheckpointList(CommandWithExample, Lister):
    """List the checkpoints of a bank, newest first.

    Where its indices and its checkpoints contradict each other is told on
    stderr. TIME is 2020-03-05 or 2020-03-05T12:00, in UTC.
    """

    example = "restore-worker checkpoint list --bank /backups/karbor --status available"
    columns = ("ID", "Plan", "Status", "Created")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the options."""
        parser = super().get_parser(prog_name)
        add_bank(parser)
        parser.add_argument("--plan", help="only those of the plan with this id or name")
        parser.add_argument("--since", type=_time(), metavar="TIME", help="only those made then or later")
        parser.add_argument(
            "--until", type=_time(end_of_day=True), metavar="TIME", help="only those made then or before"
        )
        parser.add_argument("--status", help="only those in this status, such as available")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], list[Sequence[Any]]]:
        """Return one row a checkpoint."""
        listing = list_checkpoints(
            named_bank(parsed_args.bank),
            plan=parsed_args.plan,
            since=parsed_args.since,
            until=parsed_args.until,
            status=parsed_args.status,
        )
        for disagreement in listing.disagreements:
            logger.warning(disagreement)
        return self.columns, [
            (entry.id, shown(entry.plan_name or entry.plan_id), shown(entry.status), moment(entry.created))
            for entry in listing.entries
        ]


class CheckpointShow(CommandWithExample, ShowOne):
    """Show a checkpoint: its plan, its time, its status and its resources.

    Roots are the resources that nothing else depends on.
    """

    example = "restore-worker checkpoint show latest:webapp-nightly --bank /backups/karbor"
    columns = ("id", "plan", "status", "created", "project_id", "provider_id", "resources", "roots")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of checkpoint and options."""
        parser = super().get_parser(prog_name)
        add_checkpoint(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Return the checkpoint's fields."""
        bank = named_bank(parsed_args.bank)
        checkpoint_id = resolve(bank, parsed_args.checkpoint)
        index = bank.read(f"checkpoints/{checkpoint_id}/index.json")
        return self.columns, _values(parse_checkpoint(checkpoint_id, index.data))


def _time(*, end_of_day: bool = False) -> Callable[[str], datetime]:
    def parse(text: str) -> datetime:
        try:
            return parse_time(text, end_of_day=end_of_day)
        except CheckpointError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _values(checkpoint: Checkpoint) -> tuple[Any, ...]:
    plan, graph = checkpoint.plan, checkpoint.graph or ResourceGraph({}, {})
    children = graph.parents()
    roots = [node for node in graph.nodes.values() if node.key not in children]
    return (
        checkpoint.id,
        Shown({"id": plan.id, "name": plan.name}, printable(f"{plan.name} ({plan.id})".strip())),
        shown(checkpoint.status),
        moment(checkpoint.created),
        shown(checkpoint.project_id),
        shown(checkpoint.provider_id),
        _resources(graph),
        Shown([str(node.key) for node in roots], "\n".join(map(_label, roots))),
    )


def _resources(graph: ResourceGraph) -> Shown:
    machine, lines = [], []
    for node in graph.nodes.values():
        children = [graph.nodes[key] for key in graph.children.get(node.key, ())]
        machine.append(
            {
                "type": node.type,
                "id": node.id,
                "name": node.name,
                "depends_on": [str(child.key) for child in children],
            }
        )
        needs = f" needs {listed([_label(child) for child in children])}" if children else ""
        lines.append(f"{_label(node)} ({node.id}){needs}" if node.name else f"{_label(node)}{needs}")
    return Shown(machine, "\n".join(lines))


def _label(node: Resource) -> str:
    return label(node.type, node.id, node.name)
