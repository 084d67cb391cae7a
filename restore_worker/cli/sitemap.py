"""`sitemap draft` and `sitemap check`: what things are called on another cloud."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from restore_worker import restore
from restore_worker.cli.arguments import (
    STDOUT,
    CommandWithExample,
    add_checkpoint,
    add_resources,
    add_source_cloud,
    file_to_write,
)
from restore_worker.errors import RestoreError
from restore_worker.export import write_text
from restore_worker.sitemap import read

logger = logging.getLogger(__name__)


class SitemapDraft(CommandWithExample):
    """Write a first site map for a checkpoint and a target, to be completed by hand.

    What the target has by the same name, the nearest flavor, the only external
    network stand there as guesses, what is open as comments. The target is only
    looked at, and so is the cloud that the checkpoint was made in if it is named.
    """

    example = "restore-worker sitemap draft latest --bank /backups/karbor --cloud target --output site.yaml"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the options."""
        parser = super().get_parser(prog_name)
        add_checkpoint(parser)
        add_resources(parser)
        parser.add_argument(
            "--cloud", metavar="NAME", required=True, help="the target, by its name in clouds.yaml"
        )
        add_source_cloud(parser)
        parser.add_argument(
            "-o",
            "--output",
            type=file_to_write,
            metavar="FILE",
            default=STDOUT,
            help="a new file (default: stdout)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Write the draft."""
        if parsed_args.output != STDOUT and parsed_args.output.exists():
            raise RestoreError(f"{parsed_args.output} is there already: name a new file")
        text = restore.draft_site_map(
            parsed_args.checkpoint,
            bank=parsed_args.bank,
            cloud=parsed_args.cloud,
            source_cloud=parsed_args.source_cloud,
            resources=parsed_args.resources,
        )
        if parsed_args.output == STDOUT:
            self.app.stdout.write(text)
        else:
            write_text(parsed_args.output, text)
            logger.info("site map: %s", parsed_args.output)


class SitemapCheck(CommandWithExample):
    """Say whether a file is a site map; exit code 1, with every line that is wrong, if it is none."""

    example = "restore-worker sitemap check site.yaml"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the file."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", type=Path, metavar="FILE", help="a site map, in YAML")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Read the file, and say what it has sections of."""
        said = read(parsed_args.file).model_fields_set - {"schema_url"}
        self.app.stdout.write(
            f"{parsed_args.file} is a site map: {', '.join(sorted(said)) or 'it says nothing'}\n"
        )
