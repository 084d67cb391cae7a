"""What every kind of bank can do, and what its objects are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from restore_worker.errors import BankError

# The most that `Bank.stream` yields at once, in bytes.
PIECE = 2**20
# What `Bank.read` takes unless told otherwise, in bytes: metadata and indices are far smaller.
READ_LIMIT = 64 * 2**20

_KEY = re.compile(r"[A-Za-z0-9_.@-]+(?:/[A-Za-z0-9_.@-]+)*")


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of an object without its bytes.

    size: in bytes.
    serialized: True if Karbor wrote it as JSON, False if as it was; None if the bank keeps no such mark.
    """

    size: int
    serialized: bool | None


@dataclass(frozen=True, slots=True)
class Value:
    """A whole object; ``serialized`` as in `Stat`."""

    data: bytes
    serialized: bool | None


class Bank(Protocol):
    """Objects under keys such as ``checkpoints/<id>/index.json``; read only, safe to share among threads.

    Every method raises BankUnavailableError if the bank does not answer now, BankError if it refuses or the
    key cannot be one.
    """

    # Absolute, and opens the same bank again; free of credentials, so that it may be stored and shown.
    url: str
    # How many reads at the same time pay; HTTP clients keep ten connections.
    readers: int

    def stat(self, key: str) -> Stat:
        """Return size and mark of an object; MissingObjectError if there is none."""

    def read(self, key: str, limit: int = READ_LIMIT) -> Value:
        """Return a whole object of at most ``limit`` bytes; MissingObjectError if there is none."""

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces of at most `PIECE` bytes; MissingObjectError if there is none."""

    def list(self, folder: str) -> Iterator[str]:
        """Yield the keys of all objects below a folder, at any depth; "" is the whole bank.

        In no order. What has a name that cannot be a key is not Karbor's, and left out.
        """

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders directly in a folder, without what is in them."""


def is_key(name: str) -> bool:
    """Say whether Karbor could have written an object of that name, which has no leading slash."""
    return bool(_KEY.fullmatch(name)) and ".." not in name and "/./" not in f"/{name}/"


def check_key(key: str) -> str:
    """Return ``key`` if it can be one, else raise BankError."""
    if not is_key(key):
        raise BankError(
            f"{key[:200]!r} is not a bank key: keys have letters, digits and _ . @ - in parts joined by one '/',"
            " without '..'"
        )
    return key


def check_size(url: str, key: str, size: int, limit: int) -> None:
    """Raise BankError if an object of ``size`` bytes is over ``limit``."""
    if size > limit:
        raise BankError(
            f"{key} in the bank {url} has {size} bytes, more than the {limit} that are read at once: it is"
            " damaged or not what Karbor wrote"
        )


def folder_prefix(folder: str) -> str:
    """Return what the keys below a folder begin with."""
    return f"{check_key(folder)}/" if folder else ""
