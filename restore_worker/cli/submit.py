"""`submit` and `drill`: a restore through the workers, to stay or for a while."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from datetime import timedelta

from restore_worker import restore
from restore_worker.cli.arguments import CommandWithExample, add_request, add_source_cloud, templates_to_write
from restore_worker.cli.progress import follow, follow_on_screen
from restore_worker.cli.wording import owned
from restore_worker.entries import Priority

logger = logging.getLogger(__name__)

_TTL = re.compile(r"([1-9]\d{0,3})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def time_to_live(text: str) -> timedelta:
    """Return how long 90m, 2h or 1d is; ArgumentTypeError if the text is something else."""
    found = _TTL.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90m, 2h or 1d")
    number, unit = found.groups()
    return int(number) * _UNITS[unit]


class _Submitting(CommandWithExample):
    """A command that has the workers restore a checkpoint."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the request, and of what all requests may have."""
        parser = super().get_parser(prog_name)
        add_request(parser)
        parser.add_argument(
            "--wait",
            action="store_true",
            help="show on stderr how it goes on, until it ends; exit code 1 if it fails",
        )
        parser.add_argument(
            "--watch",
            action="store_true",
            help="as --wait; where stderr is a terminal, all on one screen, as `restore-worker watch` shows it",
        )
        add_source_cloud(parser)
        parser.add_argument(
            "--allow-project",
            action="append",
            dest="allow_projects",
            metavar="ID",
            default=[],
            help="restore checkpoints of this project although the target is another (repeatable)",
        )
        parser.add_argument(
            "--unchecked",
            action="store_false",
            dest="check",
            help="do not look first whether the target has all that the restore needs: the workers will, and the "
            "restore fails then instead of being refused",
        )
        parser.add_argument(
            "--idempotency-key",
            metavar="KEY",
            help="a name for this request: given again with the same request, it makes no second restore, and the "
            "id of the first one is printed (1 to 128 letters, digits and _.:/@+=-)",
        )
        parser.add_argument(
            "--priority",
            choices=tuple(map(str, Priority)),
            default=str(Priority.NORMAL),
            help="whose resources workers take up first where those of several restores wait; of one priority, "
            f"restores take turns (default: {Priority.NORMAL})",
        )
        return parser

    def tell(self, submitted: restore.Restore) -> None:
        """Print the id, and tell where to read on."""
        self.app.stdout.write(f"{submitted.id}\n")
        self.app.stdout.flush()
        if findings := submitted.findings:
            logger.info(
                "%d things come back differently or not at all: `restore-worker show %s -c findings`",
                len(findings),
                submitted.id,
            )

    def see_through(self, submitted: restore.Restore, *, wait: bool, watch: bool) -> None:
        """Follow the restore to its end, or tell how to."""
        if watch and sys.stderr.isatty():
            follow_on_screen(submitted, sys.stderr)
        elif wait or watch:
            follow(submitted, logger.info)
        else:
            logger.info("`restore-worker watch %s` shows how it goes on", submitted.id)
            return
        submitted.wait()
        if not submitted.templates:
            logger.info("there is nothing for Heat to build, so there is no template")
        if belongings := submitted.belongings:
            logger.info("%s", owned(belongings).human_readable())


class Submit(_Submitting):
    """Have the workers restore a checkpoint, and print the restore's id.

    With a cloud (--cloud, or OS_CLOUD) the application is built there, if the
    cloud has all that it needs: that is looked for here, and by a worker once
    more. Without one the restore ends with its template, and nothing is built.
    """

    example = "restore-worker submit latest --bank /backups/karbor --cloud target --wait"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the request and the options."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--no-stack",
            action="store_true",
            help="make no stack and take no notice of OS_CLOUD: the template alone, and with --cloud what Heat "
            "cannot build",
        )
        parser.add_argument(
            "--export",
            type=templates_to_write,
            metavar="FILE",
            help="with --wait or --watch: write the template there "
            "(later: restore-worker template ID --output FILE)",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="also if another restore brought the same resources of the checkpoint to that cloud, or is about "
            "to: they come twice then",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Submit, print the id, and wait if that is wanted."""
        if parsed_args.export and not (parsed_args.wait or parsed_args.watch):
            self.refuse("--export needs --wait or --watch: without them nobody is there to write the file")
        submitted = restore.submit(
            parsed_args.checkpoint,
            bank=parsed_args.bank,
            cloud=parsed_args.cloud,
            export=parsed_args.export,
            create_stack=not parsed_args.no_stack,
            parameters=parsed_args.parameters,
            site_map=parsed_args.site_map,
            resources=parsed_args.resources,
            skip=parsed_args.skip,
            networks=parsed_args.networks,
            name_prefix=parsed_args.name_prefix,
            source_cloud=parsed_args.source_cloud,
            allow_projects=parsed_args.allow_projects,
            check=parsed_args.check,
            force=parsed_args.force,
            idempotency_key=parsed_args.idempotency_key,
            priority=parsed_args.priority,
        )
        if not submitted.status.cloud and not parsed_args.no_stack:
            logger.info("no cloud is named: the template is rendered, nothing is built")
        self.tell(submitted)
        self.see_through(submitted, wait=parsed_args.wait, watch=parsed_args.watch)


class Drill(_Submitting):
    """Restore a checkpoint to try whether it can be, and delete the copy after a while.

    The copy is isolated: it may stand beside the living original, in the same
    project too. Its networks, groups and ports are its own, its routers have no
    way out, it has no floating IPs, and its names begin with "drill-" unless
    --name-prefix is given. What would touch something that lives is a problem,
    and nothing is built then (`restore-worker plan --isolated` tells).
    `restore-worker report ID` says how long what has taken, also afterwards.
    """

    example = "restore-worker drill latest:webapp --cloud target --ttl 2h --wait"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the request and the options."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--ttl",
            type=time_to_live,
            metavar="TIME",
            default=timedelta(hours=4),
            help="delete the copy so long after it is complete, or has failed, such as 90m, 2h, 1d; at most 7d "
            "(default: 4h)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Submit, print the id, and wait if that is wanted."""
        submitted = restore.submit(
            parsed_args.checkpoint,
            bank=parsed_args.bank,
            cloud=parsed_args.cloud,
            parameters=parsed_args.parameters,
            site_map=parsed_args.site_map,
            resources=parsed_args.resources,
            skip=parsed_args.skip,
            networks=parsed_args.networks,
            name_prefix=parsed_args.name_prefix,
            source_cloud=parsed_args.source_cloud,
            allow_projects=parsed_args.allow_projects,
            check=parsed_args.check,
            idempotency_key=parsed_args.idempotency_key,
            ttl=parsed_args.ttl,
            priority=parsed_args.priority,
        )
        self.tell(submitted)
        self.see_through(submitted, wait=parsed_args.wait, watch=parsed_args.watch)
