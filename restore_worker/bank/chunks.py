"""The bytes of a resource in a bank: chunks ``data_1`` to ``data_N``, in one of the two forms Karbor wrote.

Karbor on Python 2 wrote the bytes as they are. On Python 3 each chunk is a JSON string of its UTF-8 text, the
last one maybe empty (two quotes). S3 and Swift banks mark which it is; where there is no mark, the checksum
decides, since raw bytes may begin and end with a quote by chance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import md5
from itertools import islice

from restore_worker.bank.contract import Bank
from restore_worker.errors import DamagedDataError
from restore_worker.resource import check_id

_CHUNK = re.compile(r"data_([1-9][0-9]{0,17})")
# Whole characters of a JSON string in ASCII, as many as there are. Only pairs of surrogates have a UTF-8 form.
_TEXT = re.compile(
    rb"(?:[ !#-\[\]-\x7f]++"
    rb'|\\["\\/bfnrt]'
    rb"|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb")*+"
)
# The longest beginning of a character that can stand at the end of a piece: a surrogate pair but for one digit.
_LONGEST_REST = 11
_ADVICE = "restore another checkpoint, or leave this resource out"


class _NotTextError(ValueError):
    """The chunk is no JSON string."""


def check_chunks(bank: Bank, checkpoint_id: str, resource_id: str, chunks: int | None) -> None:
    """Raise DamagedDataError that names the chunk unless exactly ``data_1`` to ``data_<chunks>`` are there.

    chunks: None if the metadata does not say; then there must be one at least, and none left out.
    Nothing but a listing is read.
    """
    _numbers(bank, checkpoint_id, resource_id, chunks)


def data_size(bank: Bank, checkpoint_id: str, resource_id: str, chunks: int | None) -> int:
    """Return how many bytes the chunks have in the bank, in the form they are kept in; chunks: as above."""
    numbers = _numbers(bank, checkpoint_id, resource_id, chunks)
    folder = _folder(checkpoint_id, resource_id)
    return sum(bank.stat(f"{folder}/data_{number}").size for number in numbers)


def read_chunks(
    bank: Bank, checkpoint_id: str, resource_id: str, chunks: int | None, checksum: str
) -> Iterator[bytes]:
    """Yield the bytes of a resource in constant memory.

    chunks: as for `check_chunks`.
    checksum: MD5 of all bytes, lower-case hex; DamagedDataError *at the end* if theirs is another.
    """
    numbers = _numbers(bank, checkpoint_id, resource_id, chunks)
    who = f"checkpoint {checkpoint_id}, resource {resource_id}"
    keys = [f"{_folder(checkpoint_id, resource_id)}/data_{number}" for number in numbers]
    serialized = _serialized(bank, keys, checksum)
    digest = md5(usedforsecurity=False)
    for number, key in zip(numbers, keys, strict=True):
        pieces = bank.stream(key)
        try:
            for piece in _decoded(pieces) if serialized else pieces:
                digest.update(piece)
                yield piece
        except _NotTextError as error:
            raise DamagedDataError(f"{who}: data_{number} is marked as JSON, but {error}; {_ADVICE}") from error
    if digest.hexdigest() != checksum:
        raise DamagedDataError(
            f"{who}: the bytes of its {len(keys)} chunks have the MD5 {digest.hexdigest()}, but {checksum} was"
            f" saved; {_ADVICE}"
        )


def _folder(checkpoint_id: str, resource_id: str) -> str:
    check_id(checkpoint_id, "checkpoint")
    return f"checkpoints/{checkpoint_id}/resource-data/{check_id(resource_id, 'resource')}"


def _numbers(bank: Bank, checkpoint_id: str, resource_id: str, chunks: int | None) -> Sequence[int]:
    """Return 1 to N if these are the chunks in the bank and as many as there must be."""
    folder = _folder(checkpoint_id, resource_id)
    names = (_CHUNK.fullmatch(key.removeprefix(f"{folder}/")) for key in bank.list(folder))
    found = {int(name[1]) for name in names if name}
    who = f"checkpoint {checkpoint_id}, resource {resource_id}"
    wanted = max(found, default=1) if chunks is None else chunks
    if not found and wanted:
        raise DamagedDataError(f"{who}: none of its chunks is in the bank, not even data_1; {_ADVICE}")
    missing = [f"data_{n}" for n in islice((n for n in range(1, wanted + 1) if n not in found), 3)]
    if missing:
        raise DamagedDataError(f"{who}: of its {wanted} chunks the bank lacks {', '.join(missing)}; {_ADVICE}")
    surplus = min((number for number in found if number > wanted), default=None)
    if surplus:
        raise DamagedDataError(f"{who}: there is a chunk data_{surplus}, but only {wanted} were saved; {_ADVICE}")
    return range(1, wanted + 1)


def _serialized(bank: Bank, keys: Sequence[str], checksum: str) -> bool:
    """Say whether the chunks are JSON strings: by the mark of the first, else by trying."""
    mark = bank.stat(keys[0]).serialized if keys else False
    if mark is not None:
        return mark
    digest = md5(usedforsecurity=False)
    try:
        for key in keys:
            for piece in _decoded(bank.stream(key)):
                digest.update(piece)
    except _NotTextError:
        return False
    return digest.hexdigest() == checksum


def _decoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the UTF-8 of the text whose JSON string the pieces make up; _NotTextError if they do not."""
    rest = b""
    opened = False
    for piece in pieces:
        rest += piece
        if not opened:
            if not rest.startswith(b'"'):
                raise _NotTextError("it does not begin with a quote")
            rest = rest[1:]
            opened = True
        text = _TEXT.match(rest)
        end = text.end() if text else 0
        yield json.loads(b'"%b"' % rest[:end]).encode()
        rest = rest[end:]
        if len(rest) > _LONGEST_REST:
            raise _NotTextError("something in it is no text")
    if not opened or rest != b'"':
        raise _NotTextError("it does not end with a quote")
