"""The files that Heat takes: a template, and an environment with the values of its parameters."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from restore_worker.errors import RestoreError
from restore_worker.template import Hot

logger = logging.getLogger(__name__)


def write_bytes(file: Path, data: bytes) -> None:
    """Write a file as `write_hot` does."""
    _write(file, data)


def write_text(file: Path, text: str) -> None:
    """Write a file as `write_hot` does."""
    _write(file, text.encode())


def write_hot(hot: Hot, file: Path) -> None:
    """Write a template, and beside it the environment if any of its parameters has a value.

    The environment of ``app.yaml`` is ``app.env.yaml``. Each file is there whole or as it was before, and only its
    owner may read it, whoever could before. Raises RestoreError that names the file which cannot be written.
    """
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
