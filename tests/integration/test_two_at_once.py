"""Two operators do the same at the same time, and an answer of Redis is lost: real Redis, threads and processes."""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from restore_worker import cloud, restore
from restore_worker.errors import DuplicateRestoreError, RestoreError
from restore_worker.states import RestoreState
from restore_worker.submitted import caller_ledger
from tests.support import processes
from tests.support.lossy_redis import LossyRedis, lossy_redis
from tests.support.steps import Steps
from tests.support.stub_identity import StubIdentity, stub_identity, write_clouds

MANY = 8


def at_once(count: int, call: Callable[[], Any]) -> Counter[Any]:
    """Return the answers, or the errors' types, of so many calls that begin in the same moment."""
    ready = threading.Barrier(count)

    def one(_: int) -> Any:
        ready.wait(10)
        try:
            return call()
        except RestoreError as error:
            return type(error)

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(one, range(count)))


@pytest.fixture
def site(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubIdentity]:
    """Have a cloud to log in to, under the names target and twin."""
    with stub_identity() as stub:
        clouds = write_clouds(tmp_path / "clouds.yaml", target=stub.entry(), twin=stub.entry())
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        monkeypatch.setattr(cloud, "_connections", {})
        yield stub


# Submit


@pytest.mark.usefixtures("site")
def test_who_submits_the_same_in_the_same_moment_gets_one_restore(steps: Steps) -> None:
    bank = steps.write([[], [0]])
    for _ in range(5):
        answers = at_once(MANY, lambda: restore.submit("latest", bank=bank, cloud="target").id)
        assert answers.pop(DuplicateRestoreError) == MANY - 1
        (made,) = answers
        assert [each.id for each in restore.list_restores() if each.state is RestoreState.PENDING] == [made]
        restore.get(made).cancel()


@pytest.mark.usefixtures("site")
def test_two_command_lines_get_one_restore_and_one_refusal(steps: Steps) -> None:
    arguments = ("submit", "latest", "--bank", str(steps.write([[], [0]])), "--cloud")
    started = [
        subprocess.Popen(
            processes.restore_worker(*arguments, name),
            cwd=processes.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # One cloud, however its users call it.
        for name in ("target", "twin")
    ]
    done = [(*each.communicate(timeout=60), each.returncode) for each in started]
    (made, _, succeeded), (nothing, refused, failed) = sorted(done, key=lambda each: each[2])
    assert (succeeded, failed, nothing) == (0, 1, "")
    restore_id = str(uuid.UUID(made.strip()))
    assert f"already, by restore {restore_id}, which is pending: `restore-worker watch {restore_id}`" in refused
    assert [each.id for each in restore.list_restores()] == [restore_id]


@pytest.mark.usefixtures("site")
def test_force_means_it_and_renderings_hinder_nobody(steps: Steps, cli) -> None:
    bank = steps.write([[]])
    for name in (None, None, "target", None):
        restore.submit("latest", bank=bank, cloud=name)
    with pytest.raises(DuplicateRestoreError):
        restore.submit("latest", bank=bank, cloud="target")
    restore.submit("latest", bank=bank, cloud="target", force=True)
    forced = cli("submit", "latest", "--bank", str(bank), "--cloud", "target", "--force")
    assert forced.returncode == 0, forced.stderr
    assert len(restore.list_restores()) == 6


@pytest.mark.usefixtures("site")
def test_a_key_in_the_same_moment_is_one_restore(steps: Steps) -> None:
    bank = steps.write([[], [0]])
    for name in ("target", None):
        key = f"key/{name}"
        answers = at_once(
            MANY,
            lambda: restore.submit("latest", bank=bank, cloud=name, idempotency_key=key).id,  # noqa: B023 - called here
        )
        assert list(answers.values()) == [MANY]


def test_a_key_on_the_command_line(steps: Steps, redis_url: str, cli) -> None:
    arguments = (
        "submit",
        "--bank",
        str(steps.write([[], [0]])),
        "--no-stack",
        "--idempotency-key",
        "nightly:1",
        "latest",
    )
    first, second = cli(*arguments), cli(*arguments)
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == second.stdout
    other = cli(*arguments, "--resource", "s0")
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr == (
        f"the idempotency key nightly:1 is that of restore {first.stdout.strip()}, which is of another selection of "
        "resources: give another request another key\n"
    )
    assert len(restore.list_restores()) == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 129, "ümlaut", "line\n"])
def test_a_key_that_is_none_is_refused(steps: Steps, redis_url: str, key: str) -> None:
    with pytest.raises(RestoreError, match="is not made of 1 to 128 letters, digits and"):
        restore.submit("latest", bank=steps.write([[]]), idempotency_key=key)
    assert restore.list_restores() == []


@pytest.mark.usefixtures("site")
def test_a_restore_of_the_version_before_is_noticed_too(steps: Steps, redis_url: str) -> None:
    bank = steps.write([[], [0]])
    first = restore.submit("latest", bank=bank, cloud="target")
    with redis.Redis.from_url(redis_url) as client:
        assert client.hdel(f"restore:{{{first.id}}}:record", "fingerprint", "key") == 2
    with pytest.raises(DuplicateRestoreError, match=first.id):
        restore.submit("latest", bank=bank, cloud="target")
    assert restore.submit("latest", bank=bank, cloud="target", resources=["s0"]).id != first.id


# Answers that are lost


@pytest.fixture
def lossy(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LossyRedis]:
    """Have a way to Redis that loses answers."""
    with lossy_redis(redis_url) as way:
        monkeypatch.setenv("RESTORE_REDIS_URL", way.url)
        yield way


@pytest.mark.usefixtures("site")
def test_a_restore_whose_record_was_written_without_an_answer_is_not_its_own_duplicate(
    steps: Steps, lossy: LossyRedis
) -> None:
    lossy.loses = b"EXEC"
    made = restore.submit("latest", bank=steps.write([[]]), cloud="target")
    assert lossy.loses == b""
    assert [each.id for each in restore.list_restores()] == [made.id]
    assert [each.name for each in caller_ledger().events(made.id)] == ["pending"]
