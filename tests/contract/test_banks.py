"""The same tests for every kind of bank, and then what only one kind has."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from restore_worker.bank import Bank, Stat, Value, check_chunks, open_bank, read_chunks, read_many
from restore_worker.errors import BankError, BankUnavailableError, DamagedDataError, MissingObjectError
from tests.support.bank_servers import (
    BankKind,
    Buckets,
    Containers,
    Directories,
    broken_server,
    s3_environment,
    s3_server,
    swift_environment,
    swift_server,
)

WEBAPP = Path(__file__).parents[2] / "examples" / "webapp" / "karbor"
CHECKPOINT = "3d60acf8-b132-4930-bc5b-90294204e9f6"
IMAGE = "fa764c51-96c8-4dd2-a403-2f9e7b7eaa06"
MIB = 2**20


def raw(data: bytes) -> Value:
    return Value(data, serialized=False)


def webapp() -> dict[str, Value]:
    files = {path.relative_to(WEBAPP).as_posix(): path for path in WEBAPP.rglob("*") if path.is_file()}
    return {
        key: Value(path.read_bytes(), serialized=path.name in ("index.json", "metadata"))
        for key, path in files.items()
    }


def seen(kind: BankKind, value: Value) -> Value:
    return Value(value.data, value.serialized if kind.marks else None)


@pytest.fixture(scope="module", params=["directory", "s3", "swift"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankKind]:
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "s3":
        with s3_server(directory / "log") as endpoint:
            yield Buckets(endpoint)
    elif request.param == "swift":
        with swift_server(directory) as auth_url:
            yield Containers(auth_url, directory / "clouds.yaml")
    else:
        yield Directories(directory)


@pytest.fixture(autouse=True)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "kind" in request.fixturenames:
        kind: BankKind = request.getfixturevalue("kind")
        for name, value in kind.environment.items():
            monkeypatch.setenv(name, value)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for the test's own bank."""
    return request.node.name.partition("[")[0].replace("_", "-")[:60]


@pytest.fixture(scope="module")
def webapp_url(kind: BankKind) -> str:
    return kind.put("webapp", webapp())


@pytest.fixture
def bank(webapp_url: str, environment: None) -> Bank:
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
    url = kind.put(name, {"checkpoints/c/metadata": Value(b'{"ssh_key": "hunter2"}', serialized=True)})
    caplog.set_level(logging.DEBUG)
    bank = open_bank(url)
    assert b"hunter2" in bank.read("checkpoints/c/metadata").data
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


# Servers that fail


@pytest.fixture(params=["s3://karbor", "swift://karbor"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Give a function that lets the URL point to a server."""

    def point(server: str) -> str:
        environment = s3_environment(server) | swift_environment(f"{server}/auth/v1.0", tmp_path / "clouds.yaml")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return request.param

    return point


def test_a_server_that_is_not_there_is_unavailable(remote) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = remote(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(BankUnavailableError, match="does not answer"):
            open_bank(url)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_unavailable(remote, status: int) -> None:
    with broken_server(status) as server, pytest.raises(BankUnavailableError, match="karbor"):
        open_bank(remote(server))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_what_to_do(remote, status: int) -> None:
    with broken_server(status) as server:
        with pytest.raises(BankError, match=r"check the AWS credentials|needs read access") as raised:
            open_bank(remote(server))
        assert not isinstance(raised.value, BankUnavailableError)


@pytest.mark.parametrize("status", [400, 409])
def test_another_refusal_is_not_tried_again(remote, status: int) -> None:
    with broken_server(status) as server:
        with pytest.raises(BankError) as raised:
            open_bank(remote(server))
        assert not isinstance(raised.value, BankUnavailableError)


def test_a_bucket_or_container_that_is_not_there(remote) -> None:
    with broken_server(404) as server, pytest.raises(BankError, match=r"no bucket or container at .*karbor"):
        open_bank(remote(server))


def test_many_reads_stop_at_once_when_the_server_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with swift_server(tmp_path) as auth_url:
        containers = Containers(auth_url, tmp_path / "clouds.yaml")
        for name, value in containers.environment.items():
            monkeypatch.setenv(name, value)
        bank = open_bank(containers.put("gone", webapp()))
    with pytest.raises(BankUnavailableError):
        read_many(bank, webapp())


# Swift alone


def test_a_cloud_is_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with swift_server(tmp_path) as auth_url:
        containers = Containers(auth_url, tmp_path / "clouds.yaml")
        for name, value in containers.environment.items():
            monkeypatch.setenv(name, value)
        url = containers.put("karbor", webapp())
        assert open_bank(url).url == "swift://karbor?cloud=reader"
        with pytest.raises(BankError, match="needs read access"):
            open_bank(f"{url}?cloud=stranger")
        with pytest.raises(BankError, match=r"nowhere .*clouds\.yaml"):
            open_bank(f"{url}?cloud=nowhere")


def test_a_refused_login_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with swift_server(tmp_path) as auth_url:
        for name, value in swift_environment(auth_url, tmp_path / "clouds.yaml").items():
            monkeypatch.setenv(name, value)
        clouds = tmp_path / "clouds.yaml"
        clouds.write_text(clouds.read_text().replace("secret", "wrong"))
        with pytest.raises(BankError, match=r"login .* is refused") as raised:
            open_bank("swift://karbor")
        assert not isinstance(raised.value, BankUnavailableError)


# S3 alone


@pytest.mark.parametrize(
    ("prefix", "root"), [("/backup", "backup"), ("/backup/", "backup/"), ("/a%20b/c", "a b/c")]
)
def test_a_bank_can_lie_below_a_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, root: str
) -> None:
    with s3_server(tmp_path / "log") as endpoint:
        buckets = Buckets(endpoint)
        for name, value in buckets.environment.items():
            monkeypatch.setenv(name, value)
        buckets.put("copies", {"checkpoints/other/index.json": raw(b"{}")})
        for key, value in webapp().items():
            buckets._client.put_object(Bucket="copies", Key=f"{root}/{key}", Body=value.data)
        bank = open_bank(f"s3://copies{prefix}")
        assert bank.url == f"s3://copies{prefix}"
        assert sorted(bank.list("")) == sorted(webapp())
        assert list(bank.folders("checkpoints")) == [CHECKPOINT]
        key = f"checkpoints/{CHECKPOINT}/index.json"
        assert bank.read(key) == Value(webapp()[key].data, None)


def test_a_missing_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['s3fs'] = None; from restore_worker.bank import open_bank; open_bank('s3://b')"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=False
    )
    assert "BankError" in ran.stderr
    assert "pip install 'restore-worker[s3]'" in ran.stderr


# Directories alone


def test_a_directory_may_be_named_in_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Directories(tmp_path).put("my bank #1", webapp())
    container = tmp_path / "my bank #1" / "karbor"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("my bank #1/karbor")
    for url in ("my bank #1", "./my bank #1/karbor", str(container), container.parent.as_uri(), "link"):
        bank = open_bank(url)
        assert bank.url == container.as_uri()
        assert len(list(bank.list(""))) == len(webapp())


def test_several_containers_in_a_directory_are_told(tmp_path: Path) -> None:
    for container in ("karbor", "karbor-old", "leases"):
        (tmp_path / container / ("x" if container == "leases" else "checkpoints")).mkdir(parents=True)
    with pytest.raises(BankError, match="several banks") as raised:
        open_bank(str(tmp_path))
    assert f"{tmp_path}/karbor, {tmp_path}/karbor-old" in str(raised.value)


@pytest.mark.parametrize("place", ["nowhere", "file", "loop"])
def test_a_place_that_is_no_directory_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BankError, match=place):
        open_bank(str(tmp_path / place))


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("hunter2")
    checkpoint = tmp_path / "bank" / "checkpoints" / "c"
    checkpoint.mkdir(parents=True)
    (checkpoint / "status").write_text("available")
    (checkpoint / "file").symlink_to(tmp_path / "secret" / "key")
    (checkpoint / "folder").symlink_to(tmp_path / "secret")
    bank = open_bank(str(tmp_path / "bank"))
    assert list(bank.list("")) == ["checkpoints/c/status"]
    assert list(bank.folders("checkpoints/c")) == []
    for key in ("checkpoints/c/file", "checkpoints/c/folder/key"):
        for ask in (bank.stat, bank.read, lambda key: list(bank.stream(key))):
            with pytest.raises(BankError, match="symbolic link"):
                ask(key)


def test_what_is_no_plain_file_is_no_object(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "c"
    checkpoint.mkdir(parents=True)
    os.mkfifo(checkpoint / "pipe")
    bank = open_bank(str(tmp_path))
    assert list(bank.list("")) == []
    with pytest.raises(MissingObjectError):
        bank.read("checkpoints/c/pipe")


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hunter2@karbor",
        "s3://key:hunt/er2hunter2@karbor/prefix",
        "swift://user:hunter2@karbor?cloud=x",
        "https://user:hunter2@example.com/karbor",
        "swift://karbor?password=hunter2",
        "s3://karbor?secret=hunter2",
        "file://user:hunter2@host/karbor",
        "s3://[hunter2",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BankError) as raised:
        open_bank(url)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None or "hunter2" not in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "url", ["http://example.com/karbor", "s3://", "swift://", "swift://karbor/folder", "s3://b#f"]
)
def test_a_url_of_no_known_kind_says_which_there_are(url: str) -> None:
    with pytest.raises(BankError, match=r"file:///directory, s3://bucket\[/prefix\] and swift://container"):
        open_bank(url)


def test_a_file_url_with_a_host_is_refused() -> None:
    with pytest.raises(BankError, match="file:///var/lib/karbor"):
        open_bank("file://bank/karbor")
