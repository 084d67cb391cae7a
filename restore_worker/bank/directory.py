"""A bank in a directory, as Karbor's file-system bank plugin writes it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from restore_worker.bank.contract import (
    PIECE,
    READ_LIMIT,
    Stat,
    Value,
    check_key,
    check_size,
    folder_prefix,
    is_key,
)
from restore_worker.errors import BankError, BankUnavailableError, MissingObjectError

# No object can have such a key.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class DirectoryBank:
    """Reads below ``root``; what is reached through a symbolic link is not part of the bank."""

    # Threads would only wait for each other: four times slower.
    readers = 1

    def __init__(self, root: Path) -> None:
        """Take an absolute directory that is itself free of links."""
        self.url = root.as_uri()
        self._root = str(root)
        self._files = fsspec.filesystem("file")

    def stat(self, key: str) -> Stat:
        """Return the size of a file; a directory keeps no marks."""
        path = self._path(key)
        with self._translated(key):
            found = self._files.info(path)
        if found["type"] != "file":
            raise MissingObjectError(f"the bank {self.url} has no object {key}")
        return Stat(found["size"], None)

    def read(self, key: str, limit: int = READ_LIMIT) -> Value:
        """Return a whole file."""
        check_size(self.url, key, self.stat(key).size, limit)
        with self._translated(key), self._files.open(self._path(key), "rb") as file:
            return Value(file.read(), None)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield a file in pieces."""
        self.stat(key)
        with self._translated(key), self._files.open(self._path(key), "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def list(self, folder: str) -> Iterator[str]:
        """Yield the keys of all files below a folder."""
        pending = [folder_prefix(folder)]
        while pending:
            prefix = pending.pop()
            for name, kind in self._entries(prefix):
                if kind == "file":
                    yield prefix + name
                elif kind == "directory":
                    pending.append(f"{prefix}{name}/")

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the directories in a folder."""
        return (name for name, kind in self._entries(folder_prefix(folder)) if kind == "directory")

    def _entries(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield name and kind of what is in a directory, sorted; nothing if there is no such directory."""
        path = self._path(prefix.rstrip("/")) if prefix else self._root
        try:
            with self._translated(prefix):
                # A link is of the kind "other", whatever it points to.
                found = self._files.ls(path, detail=True) if self._files.isdir(path) else []
        except MissingObjectError:
            return
        names = ((entry["name"].rpartition("/")[2], entry["type"]) for entry in found)
        yield from sorted((name, kind) for name, kind in names if is_key(name))

    def _path(self, key: str) -> str:
        path = f"{self._root}/{check_key(key)}"
        if os.path.realpath(path) != path:
            raise BankError(
                f"{key} in the bank {self.url} is reached through a symbolic link: links are not followed"
            )
        return path

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise BankError(
                f"{key} in the bank {self.url} may not be read: give the user of this process read access"
            ) from error
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise MissingObjectError(f"the bank {self.url} has no object {key}") from error
            raise BankUnavailableError(
                f"{key} in the bank {self.url} cannot be read now: {error.strerror}"
            ) from error


def open_directory(path: Path) -> DirectoryBank:
    """Return the bank in a directory: Karbor's ``file_system_bank_path`` or the container's folder in it."""
    try:
        root = path.resolve()
        if not root.is_dir():
            raise BankError(f"there is no directory {root}: give Karbor's file_system_bank_path")
        containers = [root] if _is_container(root) else sorted(filter(_is_container, root.iterdir()))
    except (OSError, RuntimeError) as error:
        raise BankError(f"{path} cannot be read as a bank: {error}") from error
    if not containers:
        raise BankError(
            f"{root} is not a bank: neither it nor a folder in it has the folders checkpoints/ or indices/"
        )
    if len(containers) > 1:
        raise BankError(f"{root} holds several banks, choose one: {', '.join(map(str, containers))}")
    return DirectoryBank(containers[0].resolve())


def _is_container(path: Path) -> bool:
    # os.path says no, where pathlib fails, for what may not be looked into (lost+found).
    return any(os.path.isdir(path / name) for name in ("checkpoints", "indices"))  # noqa: PTH112 - see above
