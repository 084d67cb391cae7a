"""Where checkpoints lie: a directory, an S3 bucket or a Swift container. Banks are read, never written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from restore_worker.bank.chunks import check_chunks, data_size, read_chunks
from restore_worker.bank.contract import Bank, Stat, Value, is_key
from restore_worker.bank.directory import open_directory
from restore_worker.errors import BankError, BankUnavailableError, MissingObjectError

__all__ = [
    "Bank",
    "Stat",
    "Value",
    "check_chunks",
    "data_size",
    "is_key",
    "open_bank",
    "read_chunks",
    "read_each",
    "read_many",
]

Taken = TypeVar("Taken")
_FORMS = "the bank's URL is not one of file:///directory, s3://bucket[/prefix] and swift://container[?cloud=NAME]"


def open_bank(url: str) -> Bank:
    """Return the bank at ``url``, of which one request has shown that it is there.

    url: a directory, ``file:///directory``, ``s3://bucket[/prefix]`` or ``swift://container[?cloud=NAME]``
        (default: ``OS_CLOUD``). A directory is Karbor's file_system_bank_path or the container in it.
    Raises BankError that says what was expected. Open it in the process that reads it: connections do not
    survive a fork.
    """
    if "://" not in url:
        return open_directory(Path(url))
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BankError(_FORMS) from error
    if "@" in parts.netloc or ":" in parts.netloc or (parts.scheme != "file" and "@" in url):
        # What stands there may be a password: it is not shown.
        raise BankError(
            "the bank's URL holds a user, password or port: leave them out, credentials and endpoints come from"
            " the AWS environment or clouds.yaml"
        )
    if parts.scheme == "file":
        if parts.netloc or parts.query or parts.fragment:
            raise BankError(f"{url} is not a file URL such as file:///var/lib/karbor (with %3F for ?, %23 for #)")
        return open_directory(Path(unquote(parts.path)))
    return _checked(_open_object_store(parts))


def _open_object_store(parts: SplitResult) -> Bank:
    container = unquote(parts.netloc)
    query = parse_qs(parts.query)
    if not container or parts.fragment:
        raise BankError(_FORMS)
    if parts.scheme == "s3" and not query:
        try:
            from restore_worker.bank.s3 import S3Bank  # an extra, and slow to import
        except ImportError as error:
            raise BankError(
                f"banks in S3 need more packages ({error}): pip install 'restore-worker[s3]'"
            ) from error
        return S3Bank(container, unquote(parts.path).removeprefix("/"))
    if parts.scheme == "swift" and parts.path in ("", "/") and query.keys() <= {"cloud"}:
        from restore_worker.bank.swift import open_swift  # slow to import

        return open_swift(container, query.get("cloud", [None])[0])
    raise BankError(_FORMS)


def _checked(bank: Bank) -> Bank:
    try:
        found = set(bank.folders(""))
    except MissingObjectError as error:
        raise BankError(f"there is no bucket or container at {bank.url}") from error
    if not found & {"checkpoints", "indices"}:
        raise BankError(f"{bank.url} is not a bank: no names in it begin with /checkpoints/ or /indices/")
    return bank


def read_each(
    bank: Bank, keys: Iterable[str], take: Callable[[str, Value | BankError], Taken]
) -> dict[str, Taken]:
    """Return what ``take`` makes of each object, or of the error that stands in its way, by key.

    As many are read at a time as pays, and only these are held.
    Raises BankUnavailableError, instead of giving it to ``take``, as soon as the bank does not answer.
    """

    def read(key: str) -> tuple[str, Taken]:
        try:
            found: Value | BankError = bank.read(key)
        except BankUnavailableError:
            raise
        except BankError as error:
            found = error
        return key, take(key, found)

    if bank.readers == 1:
        return dict(map(read, keys))
    with ThreadPoolExecutor(bank.readers, "bank") as readers:
        return dict(readers.map(read, keys))


def read_many(bank: Bank, keys: Iterable[str]) -> dict[str, Value | BankError]:
    """Return each object, or the error that stands in its way, by key; as `read_each`."""
    return read_each(bank, keys, lambda _, found: found)
