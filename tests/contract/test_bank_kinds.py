"""What only one kind of bank has, URLs, and servers that fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from restore_worker.bank import Value, open_bank, read_many
from restore_worker.errors import BankError, BankUnavailableError, MissingObjectError
from tests.support.bank_servers import (
    CHECKPOINT,
    Buckets,
    Directories,
    broken_server,
    raw,
    s3_environment,
    serving,
    swift_environment,
    webapp,
)

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


@pytest.mark.parametrize("kind_name", ["s3", "swift"])
def test_many_reads_stop_when_the_server_is_gone(tmp_path: Path, kind_name: str) -> None:
    with serving(kind_name, tmp_path) as kind:
        bank = open_bank(kind.put("gone", webapp()))
    with pytest.raises(BankUnavailableError):
        read_many(bank, webapp())


# Swift alone


def test_a_cloud_is_chosen_by_name(tmp_path: Path) -> None:
    with serving("swift", tmp_path) as kind:
        url = kind.put("karbor", webapp())
        assert open_bank(url).url == "swift://karbor?cloud=reader"
        with pytest.raises(BankError, match="needs read access"):
            open_bank(f"{url}?cloud=stranger")
        with pytest.raises(BankError, match=r"nowhere .*clouds\.yaml"):
            open_bank(f"{url}?cloud=nowhere")


def test_a_refused_login_says_so(tmp_path: Path) -> None:
    with serving("swift", tmp_path):
        clouds = tmp_path / "clouds.yaml"
        clouds.write_text(clouds.read_text().replace("secret", "wrong"))
        with pytest.raises(BankError, match=r"login .* is refused \(HTTP 401\); check") as raised:
            open_bank("swift://karbor")
        assert not isinstance(raised.value, BankUnavailableError)


# S3 alone


def test_a_bank_can_lie_below_a_prefix(tmp_path: Path) -> None:
    # Copied from a directory, from a bucket, and somewhere with a space: prefix of the URL, and of the names.
    places = {"backup": "backup", "old/": "old/", "a%20b/c": "a b/c"}
    with serving("s3", tmp_path) as kind:
        assert isinstance(kind, Buckets)
        kind.put("copies", {"checkpoints/other/index.json": raw(b"{}")})
        for quoted, prefix in places.items():
            for key, value in webapp().items():
                kind.client.put_object(Bucket="copies", Key=f"{prefix}/{key}", Body=value.data)
            bank = open_bank(f"s3://copies/{quoted}")
            assert bank.url == f"s3://copies/{quoted}"
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
