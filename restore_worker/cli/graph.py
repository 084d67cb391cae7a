"""`graph`: the resources of a checkpoint or a restore, and what depends on what, as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from restore_worker import restore
from restore_worker.cli.arguments import STDOUT, CommandWithExample, add_bank, file_to_write
from restore_worker.diagram import Diagram
from restore_worker.drawing import mermaid, picture
from restore_worker.errors import LedgerUnavailableError, RestoreError, UnknownRestoreError
from restore_worker.export import write_bytes

_FORMS = {".svg": "svg", ".png": "png", ".mmd": "mermaid", ".mermaid": "mermaid"}


class Graph(CommandWithExample):
    """Draw the resources of a checkpoint or of a restore, and what depends on what.

    The file's ending says how: .svg and .png are pictures, .mmd is text for
    Mermaid, which Markdown takes; without a file Mermaid is printed. Shapes are
    types, colours are states. What the end of a restore had to wait for is
    orange. Of more than 48 resources those of a type are one box, but for what
    failed.
    """

    example = "restore-worker graph latest --bank /backups/karbor -o webapp.svg"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of what to draw, and where to."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "what", metavar="CHECKPOINT|RESTORE", help="a restore's id, or a checkpoint as `plan` takes it"
        )
        add_bank(parser)
        parser.add_argument(
            "-o", "--output", type=_drawing, metavar="FILE", default=STDOUT, help="file: .svg, .png or .mmd"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Write the picture."""
        found = _diagram(parsed_args.what, parsed_args.bank)
        form = _FORMS.get(parsed_args.output.suffix.lower(), "mermaid")
        drawn = mermaid(found).encode() if form == "mermaid" else picture(found, form)
        if parsed_args.output == STDOUT:
            self.app.stdout.buffer.write(drawn)
        else:
            write_bytes(parsed_args.output, drawn)


def _drawing(text: str) -> Path:
    """Return the path of a file that is written in a form that we have."""
    if text != str(STDOUT) and Path(text).suffix.lower() not in _FORMS:
        raise argparse.ArgumentTypeError(f"{text!r} ends with none of {', '.join(_FORMS)}")
    return file_to_write(text)


def _diagram(what: str, bank: str | None) -> Diagram:
    """Return the diagram of a restore; with a bank, or if there is no such restore, of a checkpoint."""
    if bank is not None:
        return restore.graph(what, bank=bank)
    try:
        return restore.get(what).graph()
    except UnknownRestoreError as unknown:
        reason = str(unknown)
    except LedgerUnavailableError as away:
        reason = str(away)
    # Checkpoints have ids of the same kind.
    try:
        return restore.graph(what)
    except RestoreError as error:
        raise RestoreError(f"it is neither a restore nor a checkpoint: {reason}; {error}") from None
