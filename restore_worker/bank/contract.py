"""What every kind of bank can do, and what its objects are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from restore_worker.errors import BankError

_KIB, _MIB = 2**10, 2**20
# The most that `Bank.stream` yields at once, in bytes.
PIECE = _MIB
# What `Bank.read` takes unless told otherwise, in bytes: an index of 100,000 resources has 20 MiB, metadata of
# 10,000 ports 10 MiB; a status is a word, and an index file an id.
_READ_LIMITS = {"index.json": 32 * _MIB, "status": _KIB}
_READ_LIMIT = 16 * _MIB
# What one listing takes, in names.
LISTING_LIMIT = 1_000_000
# Seconds that one answer of a server, or one piece of a long one, may take: each byte alone may be in time.
ANSWER_SECONDS = 300.0

Listed = TypeVar("Listed")
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

    def read(self, key: str, limit: int | None = None) -> Value:
        """Return a whole object; MissingObjectError if there is none, BankError if it has more bytes than allowed.

        limit: in bytes; None for what is due to an object of such a key.
        """

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


def check_size(url: str, key: str, size: int, limit: int | None) -> int:
    """Return the limit of `Bank.read`; BankError if an object of ``size`` bytes is over it."""
    if limit is None:
        limit = _KIB if key.startswith("indices/") else _READ_LIMITS.get(key.rpartition("/")[2], _READ_LIMIT)
    if size > limit:
        raise BankError(
            f"{key} in the bank {url} has {size} bytes, more than the {limit} that are read at once: it is"
            " damaged or not what Karbor wrote"
        )
    return limit


def at_most(pages: Iterable[Sequence[Listed]], url: str, folder: str) -> Iterator[Listed]:
    """Yield what is on the pages of a listing; BankError once that is over `LISTING_LIMIT`."""
    count = 0
    for page in pages:
        # A page without a name counts too: there may be no end of them.
        count += len(page) or 1
        if count > LISTING_LIMIT:
            raise BankError(
                f"{folder or 'the whole'} in the bank {url} has more than {LISTING_LIMIT} names: it is damaged or"
                " not what Karbor wrote"
            )
        yield from page


def folder_prefix(folder: str) -> str:
    """Return what the keys below a folder begin with."""
    return f"{check_key(folder)}/" if folder else ""
