"""The files that Heat takes: templates, and environments with the values of their parameters."""

from __future__ import annotations

import logging
import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from restore_worker.errors import RestoreError
from restore_worker.hot import Hot

logger = logging.getLogger(__name__)


def write_bytes(file: Path, data: bytes) -> None:
    """Write a file as `write_hots` does."""
    _write(file, data)


def write_text(file: Path, text: str) -> None:
    """Write a file as `write_hots` does."""
    _write(file, text.encode())


def write_hots(hots: Sequence[Hot], path: Path) -> None:
    """Write a template, and beside it the environment if any of its parameters has a value.

    The environment of ``app.yaml`` is ``app.env.yaml``. Several templates are written into a directory, with a
    ``README.md`` that tells how they become stacks. Each file is there whole or as it was before, and only its
    owner may read it, whoever could before. Raises RestoreError that names the file which cannot be written.
    """
    if len(hots) == 1:
        if path.is_dir():
            raise RestoreError(f"{path} is a directory, and there is one template: name a file in it")
        _write_hot(hots[0], path)
        return
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise RestoreError(
            f"{path} cannot be made a directory of {len(hots)} templates: {error.strerror}"
        ) from error
    for hot in hots:
        _write_hot(hot, path / f"stack-{hot.number}.yaml")
    _write(path / "README.md", _read_me(hots).encode())


def only(hots: Sequence[Hot]) -> Hot:
    """Return the one template; RestoreError if there are several."""
    if len(hots) > 1:
        raise RestoreError(
            f"the application is too large for one stack, so there are {len(hots)} templates: name a directory "
            "for them (--output DIRECTORY)"
        )
    return hots[0]


def _read_me(hots: Sequence[Hot]) -> str:
    """Return how several templates become stacks, in Markdown."""
    lines = [
        "# An application in several stacks",
        "",
        f"It is too large for one stack: {sum(hot.resources for hot in hots)} resources in {len(hots)} templates.",
        "Create the stacks in this order; those that wait for the same ones may be created side by side.",
        "Delete them in the opposite order. `NAME` is any name that you like.",
    ]
    for hot in hots:
        after = f", after {listed(hot.waits_for)}" if hot.waits_for else ""
        lines += ["", f"## {hot.number}: {hot.resources} resources{after}", "", "```sh", *_commands(hot), "```"]
    return "\n".join(lines) + "\n"


def listed(numbers: Sequence[int]) -> str:
    """Return numbers as people write them."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


def _commands(hot: Hot) -> list[str]:
    """Return the commands that create a stack."""
    words = [f"openstack stack create NAME-{hot.number} --wait --template stack-{hot.number}.yaml"]
    if hot.values:
        words.append(f"--environment stack-{hot.number}.env.yaml")
    for name, (number, output) in hot.borrowed.items():
        told = f"openstack stack output show NAME-{number} {shlex.quote(output)} -f value -c output_value"
        words.append(f'--parameter {name}="$({told})"')
    return " \\\n  ".join(words).split("\n")


def _write_hot(hot: Hot, file: Path) -> None:
    _write(file, hot.text.encode())
    logger.info("template: %s", file)
    if hot.values:
        stem = file.stem if file.suffix in {".yaml", ".yml"} else file.name
        environment = file.with_name(f"{stem}.env.yaml")
        _write(environment, hot.environment.encode())
        logger.info("values of its parameters, for Heat to read with it: %s", environment)


def _write(file: Path, data: bytes) -> None:
    try:
        if file.exists() and not file.is_file():
            # A pipe or a device must stay what it is.
            file.write_bytes(data)
            return
        if file.is_symlink() and file.lstat().st_uid != os.geteuid():
            raise RestoreError(f"{file} is a link that another user made: name the file that it leads to")
        # Where a link leads to, so that it stays a link.
        target = file.resolve()
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as output:
                output.write(data)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise RestoreError(f"{file} cannot be written: {error.strerror}") from error
