"""What several commands take: an example in their help, a bank, a file, and the request for a restore."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from cliff.command import Command

# An id may hold dots and a value equals signs: the last dot before the first equals sign ends the id.
_PARAMETER = re.compile(r"([^#=\s]+?(?:#[A-Za-z0-9_.@-]+)?)\.([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_PARAMETER_EXAMPLE = "OS::Nova::Server.restore_flavor_id=m1.small"
STDOUT = Path("-")


class CommandWithExample(Command):
    """A command whose help ends with an example.

    columns: of its result, for those that take -c.
    """

    # Under `openstack`: nobody need be logged in for a command to begin, it does so where it must.
    auth_required = False
    example: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return a parser that leaves the lines of description and example as they are."""
        self._parser = super().get_parser(prog_name)
        self._parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return self._parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command, under `openstack` with its cloud if it takes one.

        Wrong usage if a column is asked for that its result does not have.
        """
        known = {_column(name) for name in self.columns}
        for name in getattr(parsed_args, "columns", ()):
            if _column(name) not in known:
                self.refuse(f"argument -c/--column: there is no {name!r}, only {', '.join(self.columns)}")
        if getattr(parsed_args, "cloud", "") is None and not getattr(parsed_args, "no_stack", False):
            parsed_args.cloud = getattr(self.app.options, "cloud", None)
        return super().run(parsed_args)

    def refuse(self, message: str) -> NoReturn:
        """End as with any other wrong usage of options."""
        self._parser.error(message)

    def get_epilog(self) -> str:
        """Return the example."""
        return f"Example:\n  {self.example}"


def add_bank(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the bank."""
    parser.add_argument(
        "--bank",
        metavar="URL",
        help="directory, file://, s3://BUCKET[/PREFIX] or swift://CONTAINER (default: RESTORE_BANK)",
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the bank, and the argument that names a checkpoint in it."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="an id, latest, latest:PLAN or PLAN@TIME (UTC)")
    add_bank(parser)


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add all that says what is to be restored, and how."""
    add_checkpoint(parser)
    add_resources(parser)
    parser.add_argument(
        "--skip",
        action="append",
        metavar="SELECTOR",
        default=[],
        help="an id, TYPE or TYPE#ID: leave this out, and all that depends on it, also of what --resource chooses "
        "(repeatable)",
    )
    parser.add_argument(
        "--name-prefix",
        metavar="PREFIX",
        default="",
        help="begin all names with this that the restore gives, but those that a parameter gives",
    )
    parser.add_argument(
        "--parameter",
        action=_AddParameter,
        dest="parameters",
        metavar="TYPE.NAME=VALUE",
        default={},
        help=f"what a plugin shall do differently, for a type or as TYPE#ID.NAME=VALUE for one resource, "
        f"such as {_PARAMETER_EXAMPLE} (repeatable)",
    )
    parser.add_argument(
        "--site-map",
        type=Path,
        metavar="FILE",
        help="what things are called on the target: a YAML file (docs/sitemap.md); --parameter goes before it",
    )
    parser.add_argument(
        "--network",
        action=_AddNetwork,
        dest="networks",
        metavar="OLD=EXISTING",
        default={},
        help="use a network of the target, by id or name, in the place of one of the checkpoint; it goes before "
        "the site map (repeatable)",
    )
    parser.add_argument("--cloud", metavar="NAME", help="the target, by its name in clouds.yaml")


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses resources."""
    parser.add_argument(
        "--resource",
        action="append",
        dest="resources",
        metavar="SELECTOR",
        help="an id, TYPE or TYPE#ID: restore only this and what it depends on (repeatable; default: everything)",
    )


def add_source_cloud(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the cloud of the checkpoint."""
    parser.add_argument(
        "--source-cloud",
        metavar="NAME",
        help="a cloud in clouds.yaml that logs in to the checkpoint's project: proves that you may have what is "
        "in it, if the target is another project, and where a site map asks for old flavors and volume types",
    )


def file_to_write(text: str) -> Path:
    """Return the path of a file that can be made; ArgumentTypeError if there is no directory for it."""
    file = Path(text)
    if not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {str(file.parent)!r}")
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a directory: name a file in it")
    return file


def templates_to_write(text: str) -> Path:
    """Return the path of a file, or of the directory for several templates; raises as `file_to_write` does."""
    return Path(text) if Path(text).is_dir() else file_to_write(text)


def _column(name: str) -> str:
    """Return a column's name as cliff compares it."""
    return name.lower().strip().replace(" ", "_")


class _AddNetwork(argparse.Action):
    """Collects networks of the target by the checkpoint's."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - the signature is argparse's
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002 - the same
    ) -> None:
        old, _, existing = str(values).partition("=")
        if not (old and existing):
            raise argparse.ArgumentError(self, f"{str(values)!r} is not OLD=EXISTING, such as private=shared-net")
        given: dict[str, str] = getattr(namespace, self.dest)
        if old in given:
            raise argparse.ArgumentError(self, f"{old} is given twice")
        setattr(namespace, self.dest, {**given, old: existing})


class _AddParameter(argparse.Action):
    """Collects parameters as values by name by target (`restore_worker.parameters.RestoreParameters`)."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - the signature is argparse's
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002 - the same
    ) -> None:
        found = _PARAMETER.fullmatch(str(values))
        if not found:
            raise argparse.ArgumentError(
                self, f"{str(values)!r} is not TYPE.NAME=VALUE or TYPE#ID.NAME=VALUE, such as {_PARAMETER_EXAMPLE}"
            )
        target, name, value = found.groups()
        given: dict[str, dict[str, str]] = getattr(namespace, self.dest)
        if name in given.get(target, {}):
            raise argparse.ArgumentError(self, f"{target}.{name} is given twice")
        setattr(namespace, self.dest, {**given, target: {**given.get(target, {}), name: value}})
