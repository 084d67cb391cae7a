"""`submit`: a restore through the workers."""

from __future__ import annotations

import argparse
import logging

from restore_worker import restore
from restore_worker.cli.arguments import CommandWithExample, add_request, file_to_write
from restore_worker.cli.progress import follow
from restore_worker.cli.wording import owned

logger = logging.getLogger(__name__)


class Submit(CommandWithExample):
    """Have the workers restore a checkpoint, and print the restore's id.

    With a cloud (--cloud, or OS_CLOUD) the application is built there, once a
    worker has seen that the cloud has all it needs; without one the restore ends
    with its template, and nothing is built.
    """

    example = "restore-worker submit latest --bank /backups/karbor --cloud target --wait"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the request and the options."""
        parser = super().get_parser(prog_name)
        add_request(parser)
        parser.add_argument(
            "--no-stack",
            action="store_true",
            help="make no stack and take no notice of OS_CLOUD: the template alone, and with --cloud what Heat "
            "cannot build",
        )
        parser.add_argument(
            "--wait",
            action="store_true",
            help="show on stderr how it goes on, until it ends; exit code 1 if it fails",
        )
        parser.add_argument(
            "--export",
            type=file_to_write,
            metavar="FILE",
            help="with --wait: write the template there (later: restore-worker template ID --output FILE)",
        )
        parser.add_argument(
            "--source-cloud",
            metavar="NAME",
            help="a cloud in clouds.yaml that logs in to the checkpoint's project: the proof that you may have "
            "what is in it, if the target is another project",
        )
        parser.add_argument(
            "--allow-project",
            action="append",
            dest="allow_projects",
            metavar="ID",
            default=[],
            help="restore checkpoints of this project although the target is another (repeatable)",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="also if another restore brought the same resources of the checkpoint to that cloud, or is about "
            "to: they come twice then",
        )
        parser.add_argument(
            "--idempotency-key",
            metavar="KEY",
            help="a name for this request: given again with the same request, it makes no second restore, and the "
            "id of the first one is printed (1 to 128 letters, digits and _.:/@+=-)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Submit, print the id, and wait if that is wanted."""
        if parsed_args.export and not parsed_args.wait:
            self.refuse("--export needs --wait: without it nobody is there to write the file")
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
            name_prefix=parsed_args.name_prefix,
            source_cloud=parsed_args.source_cloud,
            allow_projects=parsed_args.allow_projects,
            force=parsed_args.force,
            idempotency_key=parsed_args.idempotency_key,
        )
        if not submitted.status.cloud and not parsed_args.no_stack:
            logger.info("no cloud is named: the template is rendered, nothing is built")
        self.app.stdout.write(f"{submitted.id}\n")
        self.app.stdout.flush()
        if findings := submitted.findings:
            logger.info(
                "%d things come back differently or not at all: `restore-worker show %s -c findings`",
                len(findings),
                submitted.id,
            )
        if parsed_args.wait:
            follow(submitted, logger.info)
            submitted.wait()
            if submitted.template is None:
                logger.info("there is nothing for Heat to build, so there is no template")
            if belongings := submitted.belongings:
                logger.info("%s", owned(belongings).human_readable())
        else:
            logger.info("`restore-worker watch %s` shows how it goes on", submitted.id)
