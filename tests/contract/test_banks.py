"""The same tests for every kind of bank."""

from __future__ import annotations

import json
import logging
import tracemalloc
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from restore_worker.bank import Bank, Stat, Value, check_chunks, open_bank, read_chunks, read_many
from restore_worker.errors import BankError, DamagedDataError, MissingObjectError
from tests.support.bank_servers import CHECKPOINT, WEBAPP, BankKind, raw, serving, webapp

IMAGE = "fa764c51-96c8-4dd2-a403-2f9e7b7eaa06"
MIB = 2**20


def seen(kind: BankKind, value: Value) -> Value:
    return Value(value.data, value.serialized if kind.marks else None)


@pytest.fixture(scope="module", params=["directory", "s3", "swift"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankKind]:
    with serving(request.param, tmp_path_factory.mktemp(request.param)) as kind:
        yield kind


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for the test's own bank."""
    return request.node.name.partition("[")[0].replace("_", "-")[:60]


@pytest.fixture(scope="module")
def webapp_url(kind: BankKind) -> str:
    return kind.put("webapp", webapp())


@pytest.fixture(scope="module")
def bank(webapp_url: str) -> Bank:
    return open_bank(webapp_url)


def test_lists_every_key_below_a_folder(bank: Bank) -> None:
    keys = set(webapp())
    assert sorted(bank.list("")) == sorted(keys)
    assert set(bank.list(f"checkpoints/{CHECKPOINT}/resource-data")) == {k for k in keys if "/resource-data/" in k}
    assert set(bank.list("indices")) == {k for k in keys if k.startswith("indices/")}


def test_lists_the_folders_of_a_folder(bank: Bank) -> None:
    assert sorted(bank.folders("")) == ["checkpoints", "indices"]
    assert list(bank.folders("checkpoints")) == [CHECKPOINT]
    assert list(bank.folders(f"checkpoints/{CHECKPOINT}")) == ["resource-data"]
    resources = {key.split("/")[3] for key in webapp() if "/resource-data/" in key}
    assert sorted(bank.folders(f"checkpoints/{CHECKPOINT}/resource-data")) == sorted(resources)


def test_reads_what_was_written_with_its_mark(kind: BankKind, bank: Bank) -> None:
    for key, value in webapp().items():
        assert bank.read(key) == seen(kind, value)
        assert b"".join(bank.stream(key)) == value.data
        stat = bank.stat(key)
        assert (stat.size, stat.serialized) == (len(value.data), seen(kind, value).serialized)


def test_reads_many_objects_with_the_error_of_each(kind: BankKind, bank: Bank) -> None:
    expected = webapp()
    found = read_many(bank, [*expected, "checkpoints/none/index.json", "../secret"])
    assert {key: found[key] for key in expected} == {key: seen(kind, value) for key, value in expected.items()}
    assert isinstance(found["checkpoints/none/index.json"], MissingObjectError)
    assert isinstance(found["../secret"], BankError)


def test_reads_an_empty_object(kind: BankKind, name: str) -> None:
    bank = open_bank(kind.put(name, {"checkpoints/c/empty": raw(b"")}))
    assert bank.read("checkpoints/c/empty") == seen(kind, raw(b""))
    assert list(bank.stream("checkpoints/c/empty")) == []


def test_an_object_without_a_mark_has_none(kind: BankKind, name: str) -> None:
    bank = open_bank(kind.put(name, {"checkpoints/c/copied": Value(b"x", serialized=None)}))
    assert bank.read("checkpoints/c/copied").serialized is None


def test_its_url_opens_it_again(bank: Bank) -> None:
    assert "secret" not in bank.url
    assert "127.0.0.1" not in bank.url
    again = open_bank(bank.url)
    assert again.url == bank.url
    assert sorted(again.list("")) == sorted(bank.list(""))


def test_what_is_not_there_is_missing(bank: Bank) -> None:
    for key in ("checkpoints/none/index.json", "checkpoints", f"checkpoints/{CHECKPOINT}/index.json/more"):
        for ask in (bank.stat, bank.read, lambda key: list(bank.stream(key))):
            with pytest.raises(MissingObjectError, match=key):
                ask(key)
    assert list(bank.list("checkpoints/none")) == []
    assert list(bank.folders("checkpoints/none")) == []
    assert list(bank.list(f"checkpoints/{CHECKPOINT}/index.json")) == []


def test_a_folder_is_not_the_beginning_of_a_name(kind: BankKind, name: str) -> None:
    objects = {f"checkpoints/{key}": raw(b"x") for key in ("ab/1", "abc/2", "ab-3")}
    bank = open_bank(kind.put(name, objects))
    assert list(bank.list("checkpoints/ab")) == ["checkpoints/ab/1"]
    assert sorted(bank.folders("checkpoints")) == ["ab", "abc"]


def test_lists_more_than_a_page(kind: BankKind, name: str) -> None:
    objects = {f"checkpoints/c/data_{number}": raw(b"x") for number in range(12)}
    objects |= {f"checkpoints/c{number}/status": raw(b"x") for number in range(7)}
    bank = open_bank(kind.put(name, objects))
    assert sorted(bank.list("checkpoints/c")) == sorted(key for key in objects if "data_" in key)
    assert len(set(bank.folders("checkpoints"))) == 8


def test_leaves_out_names_that_karbor_could_not_write(kind: BankKind, name: str) -> None:
    objects = {f"checkpoints/{key}": raw(b"x") for key in ("c/index.json", "c/a b", "lost+found/x")}
    bank = open_bank(kind.put(name, objects))
    assert list(bank.list("")) == ["checkpoints/c/index.json"]
    assert list(bank.folders("checkpoints")) == ["c"]


def test_an_object_over_the_limit_is_refused(bank: Bank) -> None:
    key = f"checkpoints/{CHECKPOINT}/index.json"
    size = bank.stat(key).size
    assert len(bank.read(key, size).data) == size
    with pytest.raises(BankError, match=rf"{key} .* has {size} bytes, more than the {size - 1} "):
        bank.read(key, size - 1)


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../karbor", "checkpoints/../../x", "a//b", "a/", "a/./b", "a b", "ä", "a\nb"]
)
def test_a_key_that_cannot_be_one_is_refused(bank: Bank, key: str) -> None:
    for ask in (bank.stat, bank.read, lambda key: list(bank.stream(key))):
        with pytest.raises(BankError, match="is not a bank key"):
            ask(key)
    if key:
        with pytest.raises(BankError, match="is not a bank key"):
            list(bank.list(key))
        with pytest.raises(BankError, match="is not a bank key"):
            list(bank.folders(key))


def test_streams_in_constant_memory(kind: BankKind, name: str) -> None:
    data = bytes(range(256)) * (40 * MIB // 256)
    bank = open_bank(kind.put(name, {"checkpoints/c/large": raw(data)}))
    expected = md5(data).hexdigest()
    del data
    digest, longest = md5(), 0
    tracemalloc.start()
    try:
        for piece in bank.stream("checkpoints/c/large"):
            digest.update(piece)
            longest = max(longest, len(piece))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest.hexdigest() == expected
    assert longest <= MIB
    assert peak < 20 * MIB


def test_nothing_is_written(kind: BankKind, webapp_url: str) -> None:
    before = kind.state("webapp")
    bank = open_bank(webapp_url)
    read_many(bank, bank.list(""))
    assert b"".join(read_chunks(bank, CHECKPOINT, IMAGE, 4, image_checksum()))
    with pytest.raises(MissingObjectError):
        bank.read("checkpoints/new/index.json")
    assert kind.state("webapp") == before


def test_what_a_bank_holds_is_not_logged(kind: BankKind, name: str, caplog: pytest.LogCaptureFixture) -> None:
    url = kind.put(name, {"checkpoints/c/secret.json": Value(b'{"ssh_key": "hunter2"}', serialized=True)})
    caplog.set_level(logging.DEBUG)
    bank = open_bank(url)
    assert b"hunter2" in bank.read("checkpoints/c/secret.json").data
    assert "hunter2" not in caplog.text


def test_a_place_without_checkpoints_is_not_a_bank(kind: BankKind, name: str) -> None:
    url = kind.put(name, {"photos/1.jpeg": raw(b"x")})
    with pytest.raises(BankError, match=r"is not a bank: .*checkpoints/.*indices/"):
        open_bank(url)


# Chunks


def image_checksum() -> str:
    metadata = WEBAPP / "checkpoints" / CHECKPOINT / "resource-data" / IMAGE / "metadata"
    checksum: str = json.loads(metadata.read_bytes())["image_metadata"]["checksum"]
    return checksum


def test_reads_the_chunks_of_an_image(bank: Bank) -> None:
    check_chunks(bank, CHECKPOINT, IMAGE, 4)
    check_chunks(bank, CHECKPOINT, IMAGE, None)
    data = b"".join(read_chunks(bank, CHECKPOINT, IMAGE, 4, image_checksum()))
    assert len(data) == 208953
    assert md5(data).hexdigest() == image_checksum()


@pytest.mark.parametrize("marked", [True, False])
def test_reads_chunks_in_both_forms(kind: BankKind, name: str, marked: bool) -> None:
    parts = [f"Zeile {number} \N{GRINNING FACE}\n" for number in range(12)] + [""]
    texts = [json.dumps(part).encode() for part in parts]
    folders = {"py3": ("".join(parts).encode(), texts, True), "py2": (b"".join(texts), texts, False)}
    objects = {
        f"checkpoints/c/resource-data/{resource}/data_{number}": Value(text, mark if marked else None)
        for resource, (_, chunks, mark) in folders.items()
        for number, text in enumerate(chunks, 1)
    }
    bank = open_bank(kind.put(f"{name}-{marked}".lower(), objects))
    for resource, (data, _, _) in folders.items():
        assert b"".join(read_chunks(bank, "c", resource, 13, md5(data).hexdigest())) == data


def test_a_chunk_that_its_mark_calls_json_and_is_not_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "c" / "resource-data" / "r"
    folder.mkdir(parents=True)
    (folder / "data_1").write_bytes(b'"whole"')
    (folder / "data_2").write_bytes(b'"torn')

    class Marked:
        """A directory bank whose objects bear a mark."""

        def __getattr__(self, name: str) -> object:
            return getattr(open_bank(str(tmp_path)), name)

        def stat(self, _: str) -> Stat:
            return Stat(0, serialized=True)

    bank: Bank = Marked()  # type: ignore[assignment]  # a twin for one test
    with pytest.raises(DamagedDataError, match=r"checkpoint c, resource r: data_2 .*does not end with a quote"):
        list(read_chunks(bank, "c", "r", 2, md5(b"wholetorn").hexdigest()))
