"""A bank in a directory, as Karbor's file-system bank plugin writes it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from restore_worker.bank.contract import (
    PIECE,
    Stat,
    Value,
    at_most,
    check_key,
    check_size,
    folder_prefix,
    is_key,
)
from restore_worker.errors import BankError, BankUnavailableError, MissingObjectError

# No object can have such a key.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENXIO)


class DirectoryBank:
    """Reads below ``root``; what is reached through a symbolic link is not part of the bank."""

    # Threads would only wait for each other: four times slower.
    readers = 1

    def __init__(self, root: Path) -> None:
        """Take an absolute directory that is itself free of links."""
        self.url = root.as_uri()
        self._root = str(root)

    def stat(self, key: str) -> Stat:
        """Return the size of a file; a directory keeps no marks."""
        with self._opened(key) as file:
            return Stat(os.fstat(file.fileno()).st_size, None)

    def read(self, key: str, limit: int | None = None) -> Value:
        """Return a whole file."""
        with self._opened(key) as file:
            limit = check_size(self.url, key, os.fstat(file.fileno()).st_size, limit)
            data = b"".join(_pieces(file, limit + 1))
        # It may have grown meanwhile.
        check_size(self.url, key, len(data), limit)
        return Value(data, None)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield a file in pieces."""
        with self._opened(key) as file:
            yield from _pieces(file, os.fstat(file.fileno()).st_size)

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
            with self._translated(prefix), os.scandir(path) as entries:
                found = [
                    (each.name, _kind(each)) for each in at_most(((each,) for each in entries), self.url, prefix)
                ]
        except MissingObjectError:
            return
        yield from sorted((name, kind) for name, kind in found if is_key(name))

    @contextmanager
    def _opened(self, key: str) -> Iterator[FileIO]:
        """Open a plain file: nothing else, which might make who opens it wait, or act."""
        path = self._path(key)
        with self._translated(key):
            # A link that has taken the file's place since, a pipe without a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with FileIO(descriptor) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise MissingObjectError(f"the bank {self.url} has no object {key}: what is there is no file")
                yield file

    def _path(self, key: str) -> str:
        path = self._root
        for part in check_key(key).split("/"):
            path = f"{path}/{part}"
            # Above the root there may be links by now: that is where the bank is, and not in it.
            if os.path.islink(path):  # noqa: PTH114 - of 10,000 resources, a hundred thousand
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


def _pieces(file: FileIO, most: int) -> Iterator[bytes]:
    while most > 0 and (piece := file.read(min(PIECE, most))):
        most -= len(piece)
        yield piece


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "file", "directory", or "other" for what is neither, such as a link, whatever it points to."""
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def open_directory(path: Path) -> DirectoryBank:
    """Return the bank in a directory: Karbor's ``file_system_bank_path`` or the container's folder in it."""
    try:
        root = path.resolve()
        if not root.is_dir():
            raise BankError(f"there is no directory {root}: give Karbor's file_system_bank_path")
        containers = [root] if _is_container(root) else sorted(filter(_is_container, root.iterdir()))
    except (OSError, RuntimeError, ValueError) as error:
        raise BankError(f"{str(path)!r} cannot be read as a bank: {error}") from error
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
