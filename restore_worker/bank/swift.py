"""A bank in an OpenStack Swift container, as Karbor's Swift bank plugin writes it.

The cloud is one of clouds.yaml, by name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import openstack
import requests
from keystoneauth1 import exceptions as keystone
from openstack.exceptions import SDKException
from pydantic import BaseModel, TypeAdapter, ValidationError
from urllib3.exceptions import HTTPError

from restore_worker.bank import contract
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

if TYPE_CHECKING:
    from openstack.proxy import Proxy

# Seconds to wait for a connection or for the next bytes, unless clouds.yaml has an api_timeout.
_TIMEOUT = 60.0
# What a page of a listing takes: Swift puts up to 10,000 names of up to 1 KiB on it.
_PAGE_LIMIT = 16 * 2**20
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class _Row(BaseModel):
    """A line of a listing: an object, or a folder if the listing has a delimiter."""

    name: str = ""
    subdir: str = ""


_ROWS = TypeAdapter(list[_Row])


class SwiftBank:
    """Reads objects whose names are keys behind a slash, as Karbor names them.

    Uses openstacksdk's object store without its resource layer, which takes that slash away.
    """

    readers = 8

    def __init__(self, store: Proxy, container: str, cloud: str) -> None:
        """Take the object store of the cloud with that name in clouds.yaml."""
        self.url = f"swift://{quote(container)}?cloud={quote(cloud)}"
        self._store = store
        self._container = f"/{quote(container)}"

    def stat(self, key: str) -> Stat:
        """Return size and mark of an object."""
        with self._answer("HEAD", key) as response:
            return _stat(response)

    def read(self, key: str, limit: int | None = None) -> Value:
        """Return a whole object."""
        with self._answer("GET", key) as response:
            stat = _stat(response)
            check_size(self.url, key, stat.size, limit)
            return Value(b"".join(self._pieces(response, key, stat.size)), stat.serialized)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces."""
        with self._answer("GET", key) as response:
            yield from self._pieces(response, key, _stat(response).size)

    def list(self, folder: str) -> Iterator[str]:
        """Yield the keys of all objects below a folder."""
        return filter(is_key, (row.name.removeprefix("/") for row in self._rows(folder_prefix(folder), "")))

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder."""
        prefix = folder_prefix(folder)
        names = (row.subdir.removeprefix(f"/{prefix}").removesuffix("/") for row in self._rows(prefix, "/"))
        # An object in the folder has no subdir, and "" is no key.
        return filter(is_key, names)

    def _rows(self, prefix: str, delimiter: str) -> Iterator[_Row]:
        return at_most(self._pages(prefix, delimiter), self.url, prefix)

    def _pages(self, prefix: str, delimiter: str) -> Iterator[Sequence[_Row]]:
        query = {"format": "json", "prefix": f"/{prefix}", "delimiter": delimiter}
        # How long a page is, is the server's choice: the last one is empty.
        while True:
            with self._answer("GET", None, params=query) as response:
                try:
                    rows = _ROWS.validate_json(b"".join(self._pieces(response, f"{prefix}*", _PAGE_LIMIT)))
                except ValidationError as error:
                    raise BankError(f"what answers for the bank {self.url} is not Swift: no listing") from error
            if not rows:
                return
            yield rows
            query["marker"] = rows[-1].name or rows[-1].subdir

    @contextmanager
    def _answer(self, method: str, key: str | None, **options: Any) -> Iterator[requests.Response]:
        """Ask for an object, or for the container if ``key`` is None; the body is not read yet."""
        path = self._container if key is None else f"{self._container}//{check_key(key)}"
        with _translated(f"the bank {self.url}"):
            # log=False: what a bank holds can be secret, and keystoneauth would log JSON bodies.
            response = self._store.request(
                path,
                method,
                # Compressed on the way, an answer would not tell its length.
                headers={"Accept-Encoding": "identity"},
                stream=True,
                log=False,
                skip_cache=True,
                **options,
            )
            with closing(response):
                self._check(response, key)
                yield response

    def _pieces(self, response: requests.Response, what: str, most: int) -> Iterator[bytes]:
        """Yield the body; BankError if it is larger, BankUnavailableError if it takes too long or breaks off."""
        piece = bytearray()
        until = time.monotonic() + contract.ANSWER_SECONDS
        # Not what was compressed on the way: it may be a thousand times as large. `_stat` would have refused.
        while got := response.raw.read1(PIECE - len(piece), decode_content=False):
            piece += got
            most -= len(got)
            if most < 0:
                raise BankError(
                    f"{what} in the bank {self.url} has more bytes than its server told: it is damaged"
                )
            if time.monotonic() > until:
                raise BankUnavailableError(
                    f"the bank {self.url} is too slow: {what} did not come within {contract.ANSWER_SECONDS:g} s"
                )
            if len(piece) == PIECE:
                yield bytes(piece)
                piece.clear()
                until = time.monotonic() + contract.ANSWER_SECONDS
        if piece:
            yield bytes(piece)

    def _check(self, response: requests.Response, key: str | None) -> None:
        what = "the container" if key is None else f"the object {key}"
        status = response.status_code
        if status < HTTPStatus.BAD_REQUEST:
            return
        if status == HTTPStatus.NOT_FOUND:
            raise MissingObjectError(f"the bank {self.url} is without {what}")
        if status in _REFUSED:
            raise BankError(
                f"the bank {self.url} refuses access to {what} (HTTP {status}): the user in clouds.yaml needs read"
                " access to the container"
            )
        if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise BankUnavailableError(f"the bank {self.url} cannot give {what} now (HTTP {status})")
        raise BankError(f"the bank {self.url} refuses to give {what} (HTTP {status})")


def open_swift(container: str, cloud: str | None) -> SwiftBank:
    """Return the bank in a container; ``cloud`` is a name in clouds.yaml, None stands for ``OS_CLOUD``."""
    with _translated(f"the bank swift://{container}"):
        connection = openstack.connect(cloud=cloud)
        session = connection.session
        session.timeout = session.timeout or _TIMEOUT
        return SwiftBank(connection.object_store, container, connection.config.name)


def _stat(response: requests.Response) -> Stat:
    mark = response.headers.get("X-Object-Meta-Serialized")
    size = response.headers.get("Content-Length", "")
    # What is compressed, or comes in parts without an end, has another length.
    changed = {"Content-Encoding", "Transfer-Encoding"} & set(map(str.title, response.headers))
    if changed or not (size.isascii() and size.isdigit()):
        raise BankError(f"the answer of {response.url} does not tell its length: something on the way changes it")
    return Stat(int(size), None if mark is None else mark == "True")


@contextmanager
def _translated(bank: str) -> Iterator[None]:
    try:
        yield
    except (keystone.RetriableConnectionFailure, requests.RequestException, HTTPError) as error:
        raise BankUnavailableError(f"{bank} does not answer: {error}") from error
    except keystone.HttpError as error:
        # Some servers repeat what they were told: only the number says nothing of the password.
        status = f"HTTP {error.http_status}"
        if error.http_status in _BUSY or error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise BankUnavailableError(f"the login for {bank} does not work now ({status})") from None
        raise BankError(f"the login for {bank} is refused ({status}); check the cloud in clouds.yaml") from None
    except (keystone.ClientException, SDKException) as error:
        raise BankError(f"{bank} cannot be asked: {error}; check the cloud in clouds.yaml") from error
