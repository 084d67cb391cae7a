"""A bank that changes while it is read: what was decided stays, and no bytes pass that are not those that were saved."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from restore_worker.bank import open_bank, read_chunks
from restore_worker.errors import RestoreError
from restore_worker.plan import make_plan
from restore_worker.render import render
from tests.support.bank_servers import CHECKPOINT, BankKind, raw, serving, webapp

MIB = 2**20
FIRST, SECOND = bytes(range(256)) * (12 * MIB // 256), b"the end" * 1000
SAVED = md5(FIRST + SECOND).hexdigest()
CHUNKS = "checkpoints/c/resource-data/r"
_numbers = itertools.count()


@pytest.fixture(scope="module", params=["directory", "s3", "swift"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankKind]:
    with serving(request.param, tmp_path_factory.mktemp(request.param)) as kind:
        yield kind


@pytest.mark.parametrize("content", [b"{}", b"", b'{"backup_id": "another"}'])
def test_metadata_that_are_replaced_after_the_plan_change_nothing(kind: BankKind, content: bytes) -> None:
    name = f"replaced-{next(_numbers)}"
    bank = open_bank(kind.put(name, webapp()))
    plan = make_plan(bank, CHECKPOINT)
    expected = render(plan, verify=False).hots
    kind.put(name, {key: raw(content) for key in webapp() if key.endswith(("/metadata", "/index.json"))})
    assert render(plan, verify=False).hots == expected


def test_an_index_is_read_once(kind: BankKind, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"once-{next(_numbers)}"
    bank = open_bank(kind.put(name, webapp()))
    key = f"checkpoints/{CHECKPOINT}/index.json"
    whole = bank.read(key)
    asked = []

    def read(of: str, limit: int | None = None):
        asked.append(of)
        found = type(bank).read(bank, of, limit)
        if of == key:
            # Whoever read it again would see another one.
            kind.put(name, {key: raw(json.dumps(json.loads(whole.data) | {"status": "deleted"}).encode())})
        return found

    monkeypatch.setattr(bank, "read", read, raising=False)
    assert make_plan(bank, CHECKPOINT).problems == ()
    assert asked.count(key) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"data_1": bytes(len(FIRST))},
        {"data_1": FIRST[: 2 * MIB]},
        {"data_1": b""},
        {"data_1": FIRST + FIRST},
        {"data_2": b"another"},
        {"data_2": b""},
    ],
    ids=["other bytes", "cut off", "emptied", "longer", "other end", "no end"],
)
def test_chunks_that_change_in_the_middle_do_not_pass(kind: BankKind, changes: dict[str, bytes]) -> None:
    name = f"changed-{next(_numbers)}"
    objects = {f"{CHUNKS}/data_1": raw(FIRST), f"{CHUNKS}/data_2": raw(SECOND)}
    bank = open_bank(kind.put(name, objects))
    pieces = read_chunks(bank, "c", "r", 2, SAVED)
    read = [next(pieces)]
    kind.put(name, {f"{CHUNKS}/{chunk}": raw(data) for chunk, data in changes.items()})
    try:
        read += pieces
    except RestoreError:
        return
    # A server may go on with the object as it was.
    assert b"".join(read) == FIRST + SECOND
    assert "data_1" in changes


def test_a_chunk_that_is_added_in_the_middle_is_not_read(kind: BankKind) -> None:
    name = f"added-{next(_numbers)}"
    objects = {f"{CHUNKS}/data_1": raw(FIRST), f"{CHUNKS}/data_2": raw(SECOND)}
    bank = open_bank(kind.put(name, objects))
    pieces = read_chunks(bank, "c", "r", 2, SAVED)
    read = [next(pieces)]
    kind.put(name, {f"{CHUNKS}/data_3": raw(b"more")})
    assert b"".join([*read, *pieces]) == FIRST + SECOND


def test_a_chunk_that_goes_away_in_the_middle_is_told(tmp_path: Path) -> None:
    with serving("directory", tmp_path) as kind:
        objects = {f"{CHUNKS}/data_1": raw(FIRST), f"{CHUNKS}/data_2": raw(SECOND)}
        pieces = read_chunks(open_bank(kind.put("gone", objects)), "c", "r", 2, SAVED)
        next(pieces)
        (tmp_path / "gone" / "karbor" / CHUNKS / "data_2").unlink()
        with pytest.raises(RestoreError, match="data_2"):
            list(pieces)
