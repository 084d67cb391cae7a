"""The Redis user of docs/security.md may do all that is needed, and no more."""

import os
import re
from urllib.parse import urlsplit

import pytest
import redis

from restore_worker import restore
from restore_worker.states import RestoreState
from tests.support.bank_servers import WEBAPP
from tests.support.flower import flower
from tests.support.processes import ROOT, wait_until

BANK = str(WEBAPP.parent)
PAGE = (ROOT / "docs" / "security.md").read_text()
(COMMAND,) = re.findall(r"^```\n(ACL SETUSER .*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def user(redis_url, monkeypatch):
    """Make the user in a Redis of nobody else, and have everybody log in as it."""
    words = COMMAND.replace("\\\n", " ").replace("PASSWORD", "s3cr3t").split()
    with redis.Redis.from_url(redis_url, decode_responses=True) as admin:
        admin.execute_command(*words)
        admin.acl_log_reset()
        address = urlsplit(redis_url)
        monkeypatch.setenv("RESTORE_REDIS_URL", f"redis://{words[2]}:s3cr3t@{address.hostname}:{address.port}/0")
        yield admin
        print(admin.acl_log())  # noqa: T201 - pytest shows it for a test that failed
        admin.acl_deluser(words[2])


def test_it_is_enough_for_workers_beat_flower_and_callers(user, worker, cli, tmp_path):
    with flower(tmp_path / "flower.log") as pages:
        worker(pool="prefork", concurrency=2, options=["--beat", "--task-events"])
        wait_until(lambda: "worker1@" in pages.read("/workers"), "Flower hears of the worker")
        done = cli("submit", "latest", "--bank", BANK, "--no-stack", "--wait")
        assert done.returncode == 0, done.stderr
        submitted = restore.get(done.stdout.strip())
        assert submitted.status.state is RestoreState.COMPLETE
        wait_until(lambda: f"{submitted.id}.1.0" in pages.tasks(), "Flower hears of its tasks")
        pages.worker()
        assert cli("show", submitted.id).returncode == cli("list").returncode == 0
        wait_until(lambda: submitted.complaints() == [], "all are seen in time")
    # Nothing was ever refused to it.
    assert user.acl_log() == []


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "other", "1"),
        ("GET", "other"),
        ("FLUSHALL",),
        ("CONFIG", "SET", "save", ""),
        ("KEYS", "*"),
        ("MONITOR",),
    ],
    ids=" ".join,
)
def test_it_has_nothing_else(user, words):
    with (
        redis.Redis.from_url(os.environ["RESTORE_REDIS_URL"]) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*words)
