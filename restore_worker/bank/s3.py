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
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # it ships no types
from botocore.exceptions import ConnectionError as NoConnectionError
from s3fs.core import S3_RETRYABLE_ERRORS  # type: ignore[import-untyped]  # it ships no types

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

# Karbor's mark is user metadata; S3 servers differ in the case of such names.
_MARK = "x-object-meta-serialized"
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
            # One request a read: otherwise each asks for the size again, to fetch parts side by side.
            max_concurrency=1,
        )

    def stat(self, key: str) -> Stat:
        """Return size and mark of an object."""
        with self._translated(key):
            head = self._files.call_s3("head_object", Bucket=self._bucket, Key=self._root + check_key(key))
        marks = {name.lower(): value for name, value in head["Metadata"].items()}
        mark = marks.get(_MARK)
        return Stat(head["ContentLength"], None if mark is None else mark == "True")

    def read(self, key: str, limit: int = READ_LIMIT) -> Value:
        """Return a whole object."""
        stat = self.stat(key)
        check_size(self.url, key, stat.size, limit)
        with self._translated(key):
            return Value(self._files.cat_file(self._path(key)), stat.serialized)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces, fetched a few at a time."""
        # s3fs would open a folder too, as something empty.
        self.stat(key)
        with self._translated(key), self._files.open(self._path(key), "rb", block_size=4 * PIECE) as file:
            while piece := file.read(PIECE):
                yield piece

    def list(self, folder: str) -> Iterator[str]:
        """Yield the keys of all objects below a folder."""
        prefix = folder_prefix(folder)
        for page in self._pages(prefix, ""):
            names = (found["Key"].removeprefix(self._root) for found in page.get("Contents", ()))
            yield from filter(is_key, names)

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder."""
        prefix = folder_prefix(folder)
        for page in self._pages(prefix, "/"):
            found = (found["Prefix"].removeprefix(self._root + prefix) for found in page.get("CommonPrefixes", ()))
            yield from filter(is_key, (name.removesuffix("/") for name in found))

    def _pages(self, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
        # s3fs keeps the leading slash of a name when it reads, but its own ls drops it from the prefix.
        query = {"Bucket": self._bucket, "Prefix": self._root + prefix, "Delimiter": delimiter}
        while True:
            with self._translated(f"{prefix}*"):
                page = self._files.call_s3("list_objects_v2", **query)
            yield page
            if not page["IsTruncated"]:
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    def _path(self, key: str) -> str:
        return f"{self._bucket}/{self._root}{check_key(key)}"

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingObjectError(f"the bank {self.url} has no {key}: {error}") from error
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


def _status(error: OSError) -> int:
    """Return the HTTP status behind s3fs's error, 0 if there was no answer."""
    response = getattr(error.__cause__, "response", {})
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status
