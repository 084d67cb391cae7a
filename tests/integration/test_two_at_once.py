"""Two operators do the same at the same time, and an answer of Redis is lost: real Redis, threads and processes."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from restore_worker import cloud, restore
from restore_worker.errors import DuplicateRestoreError, RestoreError
from restore_worker.ledger import Ledger
from restore_worker.states import RestoreState
from restore_worker.submitted import caller_ledger
from tests.support import processes
from tests.support.lossy_redis import LossyRedis, lossy_redis
from tests.support.restores import bring, do, go_on, new_restore
from tests.support.steps import Steps
from tests.support.stub_identity import StubIdentity, stub_identity, write_clouds

MANY = 8


def at_once(*calls: Callable[[], Any]) -> Counter[Any]:
    """Return the answers, or the errors' types, of calls that begin in the same moment."""
    ready = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        ready.wait(10)
        try:
            return call()
        except RestoreError as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return Counter(pool.map(one, calls))


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
        answers = at_once(*[lambda: restore.submit("latest", bank=bank, cloud="target").id] * MANY)
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
        submit = functools.partial(restore.submit, "latest", bank=bank, cloud=name, idempotency_key=f"key/{name}")
        answers = at_once(*[lambda: submit().id] * MANY)  # noqa: B023 - called here
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


@contextmanager
def settling(ledger: Ledger, restore_id: str, ready: Iterable[int]) -> Iterator[None]:
    """Have the resources of a restore settle meanwhile, one after the other; AssertionError if they have all settled."""
    started, enough = threading.Event(), threading.Event()

    def settle() -> bool:
        for index in ready:
            if enough.is_set():
                return True
            do(ledger, restore_id, index)
            started.set()
        return False

    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(settle)
        assert started.wait(10)
        try:
            yield
        finally:
            enough.set()
        assert going_on.result(10)


@pytest.mark.usefixtures("redis_url")
def test_a_restore_that_settles_all_the_time_holds_nobody_up() -> None:
    ledger = caller_ledger()
    large = new_restore([()] * 2000, key="large")
    ledger.record(large)
    others: list[dict[str, Any]] = [
        {"nodes": large.nodes[:1], "children": [()], "work": large.work[:1]},
        {"cloud": "elsewhere", "identity": "project q of http://keystone"},
        {"checkpoint": "checkpoint-2"},
        {"cloud": "", "identity": "", "key": "rendering"},
    ]
    go_on(ledger, large.id)
    # Also what stands in line: what is sent at once would all have settled too soon.
    with settling(ledger, large.id, range(2000)):
        for other in others:
            new = dataclasses.replace(large, **{"id": str(uuid.uuid4()), "key": ""} | other)
            assert ledger.record(new) == new.id
        again = dataclasses.replace(large, id=str(uuid.uuid4()))
        assert ledger.record(again) == large.id
        with pytest.raises(DuplicateRestoreError, match=f"{large.id}, which is restoring"):
            ledger.record(dataclasses.replace(again, key=""))


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


# Verbs


def brought(state: RestoreState) -> restore.Restore:
    return restore.get(bring(caller_ledger(), state))


def names(found: restore.Restore) -> list[str]:
    return [each.name for each in caller_ledger().events(found.id)]


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize("state", [RestoreState.FAILED, RestoreState.CANCELLED])
def test_who_resumes_in_the_same_moment_opens_one_epoch(state: RestoreState) -> None:
    for _ in range(10):
        found = brought(state)
        assert at_once(*[found.resume] * MANY) == {None: MANY}
        assert (found.status.state, found.status.epoch) == (RestoreState.PENDING, 2)
        assert names(found).count("pending") == 2


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize(
    ("verb", "state", "goal"),
    [
        ("cancel", RestoreState.RESTORING, RestoreState.CANCELLED),
        ("destroy", RestoreState.COMPLETE, RestoreState.DESTROYING),
    ],
)
def test_who_asks_the_same_in_the_same_moment_is_told_the_same(verb, state, goal) -> None:
    for _ in range(10):
        found = brought(state)
        assert at_once(*[getattr(found, verb)] * MANY) == {None: MANY}
        assert found.status.state is goal
        assert names(found).count(goal) == 1


@pytest.mark.usefixtures("redis_url")
def test_of_cancel_and_completion_one_wins_and_the_other_is_told() -> None:
    for _ in range(40):
        found = brought(RestoreState.CREATING)
        end = functools.partial(caller_ledger().move, found.id, RestoreState.CREATING, RestoreState.COMPLETE)
        answers = at_once(found.cancel, end)
        cancelled = found.status.state is RestoreState.CANCELLED
        assert answers == ({None: 1, False: 1} if cancelled else {RestoreError: 1, True: 1})
        assert names(found).count("complete") + names(found).count("cancelled") == 1


@pytest.mark.usefixtures("redis_url")
def test_of_resume_and_destroy_one_wins_and_the_other_is_told() -> None:
    for _ in range(20):
        found = brought(RestoreState.FAILED)
        assert at_once(found.resume, found.destroy) == {None: 1, RestoreError: 1}
        assert found.status.state in {RestoreState.PENDING, RestoreState.DESTROYING}


@pytest.mark.parametrize(
    ("verb", "state", "goal", "asked"),
    [
        ("resume", RestoreState.FAILED, RestoreState.PENDING, b"resume"),
        ("cancel", RestoreState.RESTORING, RestoreState.CANCELLED, b"move"),
        ("destroy", RestoreState.COMPLETE, RestoreState.DESTROYING, b"move"),
    ],
)
def test_an_answer_that_was_lost_is_not_told_as_a_failure(lossy: LossyRedis, verb, state, goal, asked) -> None:
    found = brought(state)
    lossy.loses = asked
    getattr(found, verb)()
    assert lossy.loses == b""
    assert found.status.state is goal
    assert names(found).count(goal) == (2 if verb == "resume" else 1)
    assert found.status.epoch == (2 if verb == "resume" else 1)
