"""`resume`, `cancel`, `destroy` and `forget`: what is done to a restore that was submitted."""

from __future__ import annotations

import argparse
import logging
import sys

from restore_worker import restore
from restore_worker.cli.progress import follow
from restore_worker.cli.restores import OfOneRestore
from restore_worker.cli.wording import aligned
from restore_worker.errors import RestoreError
from restore_worker.restore import Restore
from restore_worker.states import RestoreState

logger = logging.getLogger(__name__)


class _MayWait(OfOneRestore):
    """A command whose work goes on in the workers."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of id and wait."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--wait",
            action="store_true",
            help="show on stderr how it goes on, until it ends; exit code 1 if it fails",
        )
        return parser

    def see_through(self, found: Restore, goal: RestoreState, *, wait: bool) -> None:
        """Follow the restore, or tell how to; RestoreError unless it ends as it should."""
        if not wait:
            logger.info("`restore-worker watch %s` shows how it goes on", found.id)
            return
        follow(found, logger.info)
        ended = found.status
        if ended.state is not goal:
            raise RestoreError(f"restore {found.id} is {ended.state}: {ended.reason}")


class Resume(_MayWait):
    """Go on with a restore that failed or was cancelled, from where it stands.

    What was built stays; a stack that failed is updated, not made again. One that
    goes on, or is complete, is left as it is.
    """

    example = "restore-worker resume 5f0c4a9e-... --wait"

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Resume the restore."""
        found = restore.get(parsed_args.id)
        found.resume()
        self.see_through(found, RestoreState.COMPLETE, wait=parsed_args.wait)


class Cancel(OfOneRestore):
    """Stop a restore: nothing new is begun; what was made stays and is listed.

    What Heat has begun it brings to an end: `show` lists it. `resume` goes on
    with the restore, `destroy` deletes what was made. One that came to its end
    before is not cancelled: you are told so.
    """

    example = "restore-worker cancel 5f0c4a9e-..."

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Cancel the restore."""
        found = restore.get(parsed_args.id)
        found.cancel()
        logger.info("restore %s is cancelled", parsed_args.id)
        for line in _listed(found):
            self.app.stdout.write(f"{line}\n")


class Destroy(_MayWait):
    """Delete all that a restore made.

    That is its stack with everything in it, and what was built beside it. It is
    listed first; without --yes you are asked. One that still runs is to be
    cancelled before; one whose destruction failed is destroyed again.
    """

    example = "restore-worker destroy 5f0c4a9e-... --yes --wait"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of id and options."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--yes", action="store_true", help="do not ask")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """List, ask, destroy."""
        found = restore.get(parsed_args.id)
        for line in _listed(found):
            self.app.stdout.write(f"{line}\n")
        self.app.stdout.flush()
        if not parsed_args.yes:
            _ask(f"Delete all of this on cloud {found.status.cloud}? [y/N] ")
        found.destroy()
        self.see_through(found, RestoreState.DESTROYED, wait=parsed_args.wait)


class Forget(_MayWait):
    """Let the stack of a restore go, and leave the application.

    Only of one that is complete: Heat is told to keep everything, then the stack
    alone is deleted. There is no way back: `destroy` is refused then.
    """

    example = "restore-worker forget 5f0c4a9e-... --wait"

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Forget the stack."""
        found = restore.get(parsed_args.id)
        found.forget()
        self.see_through(found, RestoreState.FORGOTTEN, wait=parsed_args.wait)


def _listed(found: Restore) -> list[str]:
    """Return a line for each thing on the target because of the restore."""
    return aligned((each.type, each.title, each.id, each.status) for each in found.belongings)


def _ask(question: str) -> None:
    """Return if the answer is yes; RestoreError if it is not, or there is nobody to ask."""
    if not sys.stdin.isatty():
        raise RestoreError("there is nobody to ask: give --yes to delete all of this")
    if input(question).strip().lower() not in {"y", "yes"}:
        raise RestoreError("nothing was deleted")
