"""The test cloud's volumes are files: what bytes they hold."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

_BLOCK = 65536


def volume_file(disks: Path, volume_id: str) -> Path:
    """Return the file with the bytes of a volume; disks: the folder of all of them."""
    return disks / f"volume-{volume_id}"


def fill(path: Path, chance: random.Random) -> None:
    """Write a few MiB of random bytes here and there in the first GiB."""
    with path.open("r+b") as file:
        for place in (17, 400, 900):
            file.seek(place * 2**20 + chance.randrange(4096))
            file.write(chance.randbytes(2**20))


def digest(path: Path) -> str:
    """Return a SHA-256 of the file's bytes.

    It is the same whether zeros are written down, left as holes, or missing at the end.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        place = _next_data(file.fileno(), 0)
        while place is not None:
            place -= place % _BLOCK
            block = os.pread(file.fileno(), _BLOCK, place).rstrip(b"\0")
            if block:
                found.update(b"%d:%d:" % (place, len(block)) + block)
            place = _next_data(file.fileno(), place + _BLOCK)
    return found.hexdigest()


def _next_data(descriptor: int, place: int) -> int | None:
    """Return where the next bytes are that are not a hole, None if there are none."""
    try:
        return os.lseek(descriptor, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # that is: nothing but a hole follows
            raise
        return None
