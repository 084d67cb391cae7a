"""The two forms of Karbor's chunks, and what is wrong with them."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.bank import Bank, check_chunks, open_bank, read_chunks
from restore_worker.bank.contract import PIECE
from restore_worker.errors import CheckpointError, DamagedDataError

WHO = "checkpoint c, resource r: "
FOLDER = Path("checkpoints", "c", "resource-data", "r")
# Characters that JSON escapes in different ways, and some of one to four bytes in UTF-8.
TEXTS = st.text(st.sampled_from('a"\\/\b\f\n\r\t\x00\x1f\x7f\x80äߎ€\ufffd\ue000😀\U0010ffff'), max_size=60)
# Bytes that are likely to look like a JSON string.
TRICKY = st.text(st.sampled_from('"\\ua0d8fc'), max_size=12).map(lambda text: f'"{text}"'.encode())


def bank_of(directory: Path, chunks: Sequence[bytes]) -> Bank:
    (directory / FOLDER).mkdir(parents=True)
    for number, chunk in enumerate(chunks, 1):
        (directory / FOLDER / f"data_{number}").write_bytes(chunk)
    return open_bank(str(directory))


@contextmanager
def saved(chunks: Sequence[bytes]) -> Iterator[Bank]:
    with tempfile.TemporaryDirectory() as directory:
        yield bank_of(Path(directory), chunks)


def checksum(data: bytes) -> str:
    return md5(data).hexdigest()


def read(bank: Bank, chunks: int | None, data: bytes) -> bytes:
    return b"".join(read_chunks(bank, "c", "r", chunks, checksum(data)))


@given(st.lists(st.binary(max_size=50) | TRICKY | TEXTS.map(json.dumps).map(str.encode), min_size=1, max_size=12))
def test_raw_chunks_come_back_as_they_are(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    with saved(chunks) as bank:
        assert read(bank, len(chunks), data) == data
        assert read(bank, None, data) == data


@given(st.lists(TEXTS, max_size=12))
def test_json_chunks_come_back_as_their_utf8(texts: list[str]) -> None:
    chunks = [json.dumps(text).encode() for text in [*texts, ""]]
    data = "".join(texts).encode()
    with saved(chunks) as bank:
        assert read(bank, len(chunks), data) == data


@given(st.lists(TRICKY | st.binary(max_size=20), min_size=1, max_size=4), st.binary(min_size=16, max_size=16))
def test_bytes_with_another_checksum_never_pass(chunks: list[bytes], digest: bytes) -> None:
    with saved(chunks) as bank, pytest.raises(DamagedDataError, match=rf"^{WHO}the bytes of its \d+ chunks have"):
        list(read_chunks(bank, "c", "r", len(chunks), digest.hex()))


@pytest.mark.parametrize(
    "chunks",
    [
        [b'"quoted"', b'"quoted too"'],
        [b'"'],
        [b'""', b'"'],
        [b'"a" "b"'],
        [b'"\xc3\xa4"'],
        [rb'"\ud83d"'],
        [rb'"\ude00\ud83d"'],
        [rb'"\x41"'],
        [rb'"\u00e"'],
        [b'"tab\t"'],
        [b'"text"', b"[1, 2]"],
        [b'"end\\"'],
        [b""],
    ],
)
def test_raw_chunks_that_look_like_json(tmp_path: Path, chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    assert read(bank_of(tmp_path, chunks), len(chunks), data) == data


@pytest.mark.parametrize("character", ["x", '"', "\n", "\x01", "ä", "€", "😀"])
@pytest.mark.parametrize("shift", range(12))
def test_an_escape_may_lie_across_pieces(tmp_path: Path, character: str, shift: int) -> None:
    text = "." * (PIECE - 14 + shift) + character * 4
    bank = bank_of(tmp_path, [json.dumps(text).encode(), b'""'])
    assert read(bank, 2, text.encode()) == text.encode()


def test_chunks_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    chunks = [f"{number:04}".encode() for number in range(1, 121)]
    bank = bank_of(tmp_path, chunks)
    # Another plugin may keep more beside them.
    for name in ("data_0", "data_007", "data_x", "snapshot_1"):
        (tmp_path / FOLDER / name).write_text("no chunk")
    (tmp_path / FOLDER / "more").mkdir()
    (tmp_path / FOLDER / "more" / "data_121").write_text("no chunk")
    check_chunks(bank, "c", "r", 120)
    assert read(bank, 120, b"".join(chunks)) == b"".join(chunks)


def test_no_bytes_at_all_need_no_chunk(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, [])
    check_chunks(bank, "c", "r", 0)
    assert read(bank, 0, b"") == b""


@pytest.mark.parametrize(
    ("there", "chunks", "message"),
    [
        ((1, 2, 4), 4, "of its 4 chunks the bank lacks data_3;"),
        ((1, 2, 4), None, "of its 4 chunks the bank lacks data_3;"),
        ((1, 2), 9, "of its 9 chunks the bank lacks data_3, data_4, data_5;"),
        ((2,), 10**15, "of its 1000000000000000 chunks the bank lacks data_1, data_3, data_4;"),
        ((1, 2, 3, 10), 2, "there is a chunk data_3, but only 2 were saved;"),
        ((1,), 0, "there is a chunk data_1, but only 0 were saved;"),
        ((), 3, "none of its chunks is in the bank, not even data_1;"),
        ((), None, "none of its chunks is in the bank, not even data_1;"),
    ],
)
def test_missing_and_surplus_chunks_are_named(
    tmp_path: Path, there: tuple[int, ...], chunks: int | None, message: str
) -> None:
    bank = bank_of(tmp_path, [b"x"] * max(there, default=0))
    for number in set(range(1, max(there, default=0))) - set(there):
        (tmp_path / FOLDER / f"data_{number}").unlink()
    for ask in (check_chunks, lambda *arguments: list(read_chunks(*arguments, checksum(b"xxx")))):
        with pytest.raises(DamagedDataError, match=f"^{WHO}{message}"):
            ask(bank, "c", "r", chunks)


def test_the_damage_is_told_after_the_last_byte(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, [b"whole", b"torn"])
    pieces = read_chunks(bank, "c", "r", 2, checksum(b"wholesome"))
    assert [next(pieces), next(pieces)] == [b"whole", b"torn"]
    with pytest.raises(
        DamagedDataError, match=f"{checksum(b'wholetorn')}, but {checksum(b'wholesome')} was saved"
    ):
        next(pieces)


@pytest.mark.parametrize(("checkpoint", "resource"), [("..", "r"), ("c", "../../x"), ("c", "a/b"), ("", "r")])
def test_an_id_that_leaves_the_folder_is_refused(tmp_path: Path, checkpoint: str, resource: str) -> None:
    bank = bank_of(tmp_path, [b"x"])
    for ask in (check_chunks, lambda *arguments: list(read_chunks(*arguments, checksum(b"x")))):
        with pytest.raises(CheckpointError, match="is not an id"):
            ask(bank, checkpoint, resource, 1)


@pytest.mark.parametrize("python", [2, 3])
def test_reads_in_constant_memory(tmp_path: Path, python: int) -> None:
    size = 24 * 2**20
    text = '{"key": "ä\n"}' * (size // 14)
    bank = bank_of(tmp_path, [json.dumps(text).encode() if python == 3 else text.encode()] * 2)
    expected = checksum(text.encode() * 2)
    del text
    tracemalloc.start()
    try:
        for _ in read_chunks(bank, "c", "r", 2, expected):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size // 2
