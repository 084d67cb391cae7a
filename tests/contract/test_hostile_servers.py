"""Servers of banks that lie, that never end, and that come a byte at a time: told, in bounded memory and time."""

from __future__ import annotations

import gzip
import itertools
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restore_worker.bank import contract, open_bank
from restore_worker.errors import BankError, BankUnavailableError
from tests.support.bank_servers import s3_environment, swift_environment
from tests.support.hostile_server import answer, hostile_server

KEY = "checkpoints/c/index.json"
MIB = 2**20
# More than anything here may hold at once: an object at its limit, and as much again while it is put together.
BOUND = 80 * MIB


@pytest.fixture(params=["s3://karbor", "swift://karbor"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Give a function that opens the bank of a server."""

    def point(server: str):
        environment = s3_environment(server) | swift_environment(f"{server}/auth/v1.0", tmp_path / "clouds.yaml")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return open_bank(request.param)

    return point


@contextmanager
def bounded(seconds: float = 20) -> Iterator[None]:
    started = time.monotonic()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BOUND
    assert time.monotonic() - started < seconds


def asked(bank) -> list[type[Exception]]:
    """Read and stream the object; the kinds of the errors that this must end in."""
    kinds = []
    for ask in (bank.read, lambda key: [None for _ in bank.stream(key)]):
        with pytest.raises(BankError) as raised:
            ask(KEY)
        assert KEY in str(raised.value) or "does not answer" in str(raised.value)
        kinds.append(type(raised.value))
    return kinds


def endless(*headers: str):
    def objects(method: str) -> Iterable[bytes]:
        yield answer(*headers)
        chunked = "Transfer-Encoding: chunked" in headers
        piece = b"x" * MIB
        while method == "GET":
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece

    return objects


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Transfer-Encoding: chunked",),
        ("Content-Length: 10", "Transfer-Encoding: chunked"),
        ("Content-Length: ten",),
        ("Content-Length: -10",),
    ],
    ids=str,
)
def test_an_object_without_an_end_is_refused(remote, headers) -> None:
    with hostile_server(endless(*headers)) as server, bounded(60):
        bank = remote(server)
        asked(bank)


def test_an_object_of_a_gibibyte_is_refused_before_it_is_read(remote) -> None:
    refusal = f"{KEY} .* has {2**30} bytes, more than the {32 * MIB} "
    with hostile_server(endless(f"Content-Length: {2**30}")) as server, bounded():
        bank = remote(server)
        with pytest.raises(BankError, match=refusal) as raised:
            bank.read(KEY)
    assert not isinstance(raised.value, BankUnavailableError)


def test_an_object_that_was_compressed_on_the_way_is_not_blown_up(remote) -> None:
    bomb = gzip.compress(bytes(512 * MIB), 1)

    def objects(method: str) -> Iterable[bytes]:
        yield answer(f"Content-Length: {len(bomb)}", "Content-Encoding: gzip")
        if method == "GET":
            yield bomb

    with hostile_server(objects) as server:
        bank = remote(server)
        with bounded():
            if bank.url == "s3://karbor":
                assert bank.read(KEY).data == bomb
            else:
                with pytest.raises(BankError, match="something on the way changes it"):
                    bank.read(KEY)


def test_an_object_that_breaks_off_is_tried_again_later(remote) -> None:
    def objects(method: str) -> Iterable[bytes]:
        yield answer("Content-Length: 100")
        if method == "GET":
            yield b"only the beginning"

    with hostile_server(objects) as server, bounded(60):
        assert asked(remote(server)) == [BankUnavailableError] * 2


def test_an_object_that_comes_a_byte_at_a_time_is_given_up(remote, monkeypatch: pytest.MonkeyPatch) -> None:
    def objects(method: str) -> Iterable[bytes]:
        yield answer("Content-Length: 1000000")
        for _ in itertools.count() if method == "GET" else ():
            yield b"x"
            time.sleep(0.02)

    with hostile_server(objects) as server, bounded():
        bank = remote(server)
        monkeypatch.setattr(contract, "ANSWER_SECONDS", 1.0)
        for ask in (bank.read, lambda key: list(bank.stream(key))):
            with pytest.raises(BankUnavailableError, match=f"too slow: {KEY} did not come within 1 s"):
                ask(KEY)


def test_a_listing_without_an_end_is_refused(remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "LISTING_LIMIT", 20)
    with hostile_server(endless(), pages=10**9) as server, bounded():
        bank = remote(server)
        with pytest.raises(BankError, match=r"checkpoints/ in the bank .* has more than 20 names"):
            list(bank.list("checkpoints"))


def test_a_listing_of_as_much_as_is_allowed_is_read(remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "LISTING_LIMIT", 20)
    with hostile_server(endless(), pages=20) as server:
        assert len(list(remote(server).list("checkpoints"))) == 20
