"""A bank in an S3 bucket, as Karbor's S3 bank plugin writes it. Needs the extra ``s3``.

Endpoint, credentials and region come from the standard AWS environment and configuration files
(``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE`` ...).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import fsspec
from botocore.exceptions import (  # type: ignore[import-untyped]  # it ships no types
    BotoCoreError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from fsspec.asyn import sync
from fsspec.exceptions import FSTimeoutError
from s3fs.core import S3_RETRYABLE_ERRORS  # type: ignore[import-untyped]  # it ships no types

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

# Karbor's mark is user metadata; S3 servers differ in the case of such names.
_MARK = "x-object-meta-serialized"
# Bytes fetched by one request of a stream, and how often one is made that breaks off.
_RANGE = 4 * PIECE
_TRIES = 3
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class S3Bank:
    """Reads objects named ``<prefix>/<key>``: with Karbor's own empty prefix, names begin with a slash."""

    readers = 8

    def __init__(self, bucket: str, prefix: str) -> None:
        """Name the place; nothing is asked yet."""
        self.url = f"s3://{bucket}/{quote(prefix)}" if prefix else f"s3://{bucket}"
        self._bucket = bucket
        self._root = f"{prefix}/"
        self._files = fsspec.filesystem(
            "s3",
            # A bank changes while we look; and another environment means another account.
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def stat(self, key: str) -> Stat:
        """Return size and mark of an object."""
        return self._stat(key, self._head(key))

    def read(self, key: str, limit: int | None = None) -> Value:
        """Return a whole object."""
        with self._translated(key):
            answer = self._ask("get_object", **self._named(key))
            stat = self._stat(key, answer)
            check_size(self.url, key, stat.size, limit)
            return Value(self._take(answer, key, stat.size), stat.serialized)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces, fetched a few at a time."""
        head = self._head(key)
        size = self._stat(key, head).size
        for start in range(0, size, _RANGE):
            # The object as it was: were it replaced, one would get the beginning of this and the end of that.
            part = self._part(key, start, min(start + _RANGE, size), head.get("ETag", ""))
            for place in range(0, len(part), PIECE):
                yield part[place : place + PIECE]

    def list(self, folder: str) -> Iterator[str]:
        """Yield the keys of all objects below a folder."""
        prefix = folder_prefix(folder)
        pages = (page.get("Contents", ()) for page in self._pages(prefix, ""))
        names = (found["Key"].removeprefix(self._root) for found in at_most(pages, self.url, prefix))
        return filter(is_key, names)

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder."""
        prefix = folder_prefix(folder)
        pages = (page.get("CommonPrefixes", ()) for page in self._pages(prefix, "/"))
        found = at_most(pages, self.url, prefix)
        names = (each["Prefix"].removeprefix(self._root + prefix).removesuffix("/") for each in found)
        return filter(is_key, names)

    def _pages(self, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
        # s3fs keeps the leading slash of a name when it reads, but its own ls drops it from the prefix.
        query = {"Bucket": self._bucket, "Prefix": self._root + prefix, "Delimiter": delimiter}
        while True:
            with self._translated(f"{prefix}*"):
                page = self._ask("list_objects_v2", **query)
            yield page
            if not page.get("IsTruncated"):
                return
            query["ContinuationToken"] = page.get("NextContinuationToken", "")

    def _head(self, key: str) -> dict[str, Any]:
        with self._translated(key):
            return self._ask("head_object", **self._named(key))

    def _part(self, key: str, start: int, end: int, tag: str) -> bytes:
        """Return the bytes from ``start`` to before ``end`` of the object that had that tag."""
        for again in reversed(range(_TRIES)):
            try:
                with self._translated(key):
                    span = f"bytes={start}-{end - 1}"
                    answer = self._ask("get_object", **self._named(key), Range=span, IfMatch=tag)
                    return self._take(answer, key, end - start)
            except BankUnavailableError:
                if not again:
                    raise
        raise AssertionError

    def _take(self, answer: dict[str, Any], key: str, size: int) -> bytes:
        """Return the body of an answer, of which the server told that it has ``size`` bytes."""
        what = f"{key} in the bank {self.url}"
        data: bytes = sync(self._files.loop, _body, answer["Body"], size + 1, timeout=contract.ANSWER_SECONDS)
        if len(data) > size:
            raise BankError(f"{what} is larger than its server told: it is damaged")
        if len(data) < size:
            raise BankUnavailableError(f"{what} broke off after {len(data)} of {size} bytes")
        return data

    def _ask(self, call: str, **query: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._files.call_s3(call, timeout=contract.ANSWER_SECONDS, **query)
        return answer

    def _stat(self, key: str, head: dict[str, Any]) -> Stat:
        size = head.get("ContentLength")
        if not isinstance(size, int) or size < 0:
            raise BankError(
                f"what answers for {key} in the bank {self.url} does not tell its length: it is not S3"
            )
        marks = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
        mark = marks.get(_MARK)
        return Stat(size, None if mark is None else mark == "True")

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + check_key(key)}

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingObjectError(f"the bank {self.url} has no {key}: {error}") from error
        except FSTimeoutError as error:
            raise BankUnavailableError(
                f"the bank {self.url} is too slow: {key} did not come within {contract.ANSWER_SECONDS:g} s"
            ) from error
        except (NoConnectionError, *S3_RETRYABLE_ERRORS) as error:
            raise BankUnavailableError(f"the bank {self.url} does not answer for {key}: {error}") from error
        except OSError as error:
            status = _status(error)
            if isinstance(error, PermissionError) or status == HTTPStatus.UNAUTHORIZED:
                raise BankError(
                    f"the bank {self.url} refuses access to {key}: {error}; check the AWS credentials, which need"
                    " s3:ListBucket and s3:GetObject"
                ) from error
            if not status or status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise BankUnavailableError(f"the bank {self.url} cannot answer for {key} now: {error}") from error
            raise BankError(f"the bank {self.url} refuses to answer for {key}: {error}") from error
        except BotoCoreError as error:
            raise BankError(f"the bank {self.url} cannot be asked: {error}; check the AWS settings") from error


async def _body(body: Any, most: int) -> bytes:
    """Return up to ``most`` bytes of an answer."""
    data = bytearray()
    try:
        while most > len(data) and (piece := await body.read(most - len(data))):
            data += piece
    finally:
        body.close()
    return bytes(data)


def _status(error: OSError) -> int:
    """Return the HTTP status behind s3fs's error, 0 if there was no answer."""
    response = getattr(error.__cause__, "response", {})
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status
