"""Where Redis is: one URL, for redis-py and for Celery's broker and result backend alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

_PORT, _SENTINEL_PORT = 6379, 26379
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_NODE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
_CHECKS = ("required", "optional", "none")
# What redis-py and Celery take of TLS under the same names.
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password")
_TLS_OPTIONS = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
# A Sentinel answers from memory: one that takes longer than so many seconds is not worth the wait for it.
_SENTINEL_SECONDS = 5.0
# How long a master that may be hanging is waited for.
_MASTER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and as whom to log in; neither its text nor its repr holds a secret.

    nodes: host and port of the server, or of the Sentinels that know where it is; none if there is a socket.
    socket: path of a Unix socket, "" if there is none.
    master: what the Sentinels call the server, "" if there are no Sentinels.
    tls: keyword arguments of an encrypted connection as pairs, None for a plain one.
    """

    nodes: tuple[tuple[str, int], ...] = ()
    socket: str = ""
    master: str = ""
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: tuple[tuple[str, str | bool], ...] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the URL without users, passwords and options."""
        if self.socket:
            return f"unix://{self.socket}?db={self.database}"
        nodes = ",".join(map(_joined, self.nodes))
        scheme = f"redis{'' if self.tls is None else 's'}{'+sentinel' if self.master else ''}"
        return f"{scheme}://{nodes}/{self.master and f'{self.master}/'}{self.database}"

    def tls_options(self) -> dict[str, Any]:
        """Return the keyword arguments of a connection that make it an encrypted one; none for a plain one."""
        return {} if self.tls is None else {"ssl": True, **dict(self.tls)}

    def sentinel_options(self) -> dict[str, Any]:
        """Return the keyword arguments of a connection to a Sentinel."""
        return {
            "username": self.sentinel_user,
            "password": self.sentinel_password,
            "socket_timeout": _SENTINEL_SECONDS,
            "socket_connect_timeout": _SENTINEL_SECONDS,
            # The next Sentinel is asked instead.
            "retry": None,
            **self.tls_options(),
        }

    def celery_settings(self) -> dict[str, Any]:
        """Return what Celery must be told, but for `transport_options`.

        The result backend gets the login beside its URL: of a URL with several hosts Celery hides one password
        where it shows its settings.
        """
        settings: dict[str, Any] = {
            "broker_url": self._celery_url(_login(self.user, self.password)),
            "result_backend": self._celery_url(""),
            "redis_username": self.user,
            "redis_password": self.password,
        }
        if self.master:
            settings |= {
                "redis_socket_timeout": _MASTER_SECONDS,
                "redis_socket_connect_timeout": _SENTINEL_SECONDS,
            }
        if self.tls is not None:
            settings |= {"broker_use_ssl": dict(self.tls), "redis_backend_use_ssl": dict(self.tls)}
        return settings

    def transport_options(self) -> dict[str, Any]:
        """Return what Celery's broker and result backend take beside a URL."""
        if not self.master:
            return {}
        return {
            "master_name": self.master,
            "sentinel_kwargs": self.sentinel_options(),
            # A master that hangs is replaced; by default its clients would wait for it for ever.
            "socket_timeout": _MASTER_SECONDS,
            "socket_connect_timeout": _SENTINEL_SECONDS,
            "socket_keepalive": True,
        }

    def _celery_url(self, login: str) -> str:
        if self.socket:
            return f"redis+socket://{login}{quote(self.socket)}?virtual_host={self.database}"
        scheme = "sentinel" if self.master else "redis"
        return ";".join(f"{scheme}://{login}{_joined(node)}/{self.database}" for node in self.nodes)


def parse(url: str) -> RedisAddress:
    """Return the address that a URL means.

    ValueError says what is wrong, but quotes nothing: with a character left unescaped, a part of the password may
    stand anywhere.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{each}://' for each in _SCHEMES)}")
    place, _, query = rest.partition("?")
    login, _, where = place.rpartition("@")
    user, password = _credentials(login)
    options = _options(query)
    sentinel = scheme.endswith("+sentinel")
    tls = _tls(options, wanted=scheme.startswith("rediss"))
    hosts, slash, path = where.partition("/")
    if scheme == "unix":
        if hosts or not path:
            raise ValueError("names no socket: its form is unix:///path/of/the/socket?db=0")
        return RedisAddress(
            socket=unquote(slash + path), database=_database(options.get("db", "")), user=user, password=password
        )
    master, _, number = path.strip("/").partition("/") if sentinel else ("", "", path.strip("/"))
    if sentinel and not master:
        raise ValueError("names no master: its form is redis+sentinel://HOST:26379,HOST:26379/MASTER/0")
    nodes = _nodes(hosts, _SENTINEL_PORT if sentinel else _PORT)
    if len(nodes) > 1 and not sentinel:
        raise ValueError("names several hosts, which are Sentinels if it begins with redis+sentinel://")
    if not sentinel and options.keys() & {"sentinel_username", "sentinel_password"}:
        raise ValueError("has options for Sentinels, but does not begin with redis+sentinel://")
    return RedisAddress(
        nodes=nodes,
        master=unquote(master),
        database=_database(options.get("db", number)),
        user=user,
        password=password,
        sentinel_user=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=tls,
    )


def _credentials(login: str) -> tuple[str | None, str | None]:
    user, colon, password = login.partition(":")
    if user and not password:
        raise ValueError(
            "has a user but no password (one without a user begins with a colon: redis://:PASSWORD@...)"
        )
    if colon and not password:
        raise ValueError("has an empty password")
    return unquote(user) or None, unquote(password) or None


def _options(query: str) -> dict[str, str]:
    known = ("db", "sentinel_username", "sentinel_password", *_TLS_OPTIONS)
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not options.keys() <= set(known):
        raise ValueError(
            f"has an option after its question mark that is none of {', '.join(known)}"
            " (in a password, ? is written %3F)"
        )
    return options


def _tls(options: dict[str, str], *, wanted: bool) -> tuple[tuple[str, str | bool], ...] | None:
    if not wanted:
        if options.keys() & set(_TLS_OPTIONS):
            raise ValueError("has options for TLS, which goes with rediss:// or rediss+sentinel://")
        return None
    check = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    named = options.get("ssl_check_hostname", "true").lower()
    if check not in _CHECKS or named not in {"true", "false"}:
        raise ValueError(f"ssl_cert_reqs is one of {', '.join(_CHECKS)}, ssl_check_hostname is true or false")
    files = ((name, options[name]) for name in _TLS_FILES if options.get(name))
    return (*files, ("ssl_cert_reqs", check), ("ssl_check_hostname", named == "true" and check != "none"))


def _nodes(hosts: str, port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for each in hosts.split(","):
        found = _NODE.fullmatch(each)
        if not found or not (1 <= (number := int(found[2] or port)) <= 65535):  # noqa: PLR2004 - the last port
            raise ValueError(
                "has a host that is not HOST, HOST:PORT or [IPV6]:PORT (in a password, @ is written %40)"
            )
        nodes.append((found[1].strip("[]") or "localhost", number))
    return tuple(nodes)


def _database(text: str) -> int:
    if not text.isascii() or not (text or "0").isdecimal():
        raise ValueError("ends with a database that is not a number such as 0")
    return int(text or 0)


def _login(user: str | None, password: str | None) -> str:
    return f"{quote(user or '', safe='')}:{quote(password, safe='')}@" if password else ""


def _joined(node: tuple[str, int]) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
