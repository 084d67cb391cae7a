"""`resume`, `cancel`, `destroy` and `forget` where no cloud is needed: what they list, ask and refuse."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from restore_worker import restore
from restore_worker.entries import Built, StackLog
from restore_worker.states import RestoreState
from restore_worker.submitted import caller_ledger
from tests.support import processes
from tests.support.restores import bring
from tests.support.sample_banks import WEBAPP

pytestmark = pytest.mark.usefixtures("redis_url")


@pytest.fixture
def complete(redis_url):
    """Give the id of a restore whose stack is complete."""
    ledger = caller_ledger()
    restore_id = bring(ledger, RestoreState.CREATING)
    ledger.stacks.asked(restore_id, RestoreState.CREATING, "stack-id")
    ledger.stacks.observe(
        restore_id,
        RestoreState.CREATING,
        StackLog("stack-id", "CREATE_COMPLETE", "", "e1"),
        [],
        [Built("server_1", "OS::Nova::Server", "CREATE_COMPLETE", "", "new-server")],
        seen_before="",
    )
    assert ledger.move(restore_id, RestoreState.CREATING, RestoreState.COMPLETE)
    return restore_id


def test_a_rendering_has_nothing_to_destroy_or_forget(cli, worker):
    worker()
    restore_id = cli("submit", "latest", "--bank", str(WEBAPP), "--no-stack", "--wait").stdout.strip()
    for verb, said in (
        (("destroy", "--yes"), "it never came to a cloud, so there is nothing to destroy"),
        (("forget",), "it has no stack, so there is nothing to forget"),
        (("cancel",), "it came to its end before, so destroy it if what it made shall go"),
    ):
        done = cli(*verb, restore_id)
        assert (done.returncode, done.stdout, done.stderr) == (
            1,
            "",
            f"restore {restore_id} is complete: {said}\n",
        )
    # Nothing is left to do.
    assert cli("resume", restore_id, "--wait").returncode == 0


def test_what_is_so_already_is_done(cli):
    cancelled = restore.get(bring(caller_ledger(), RestoreState.CANCELLED))
    for _ in range(2):
        done = cli("cancel", cancelled.id)
        assert (done.returncode, done.stderr) == (0, f"restore {cancelled.id} is cancelled\n")
    destroyed = bring(caller_ledger(), RestoreState.DESTROYED)
    assert cli("destroy", destroyed, "--yes", "--wait").returncode == 0
    forgotten = bring(caller_ledger(), RestoreState.FORGOTTEN)
    assert cli("forget", forgotten, "--wait").returncode == 0


@pytest.mark.parametrize("verb", ["destroy", "forget"])
def test_an_unknown_restore(cli, verb):
    done = cli(verb, "nobody-knows")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "'nobody-knows' is no id of a restore: `restore-worker list` shows them\n"


def test_destroy_lists_what_there_is_and_does_nothing_with_nobody_to_ask(cli, complete):
    done = cli("destroy", complete)
    assert (done.returncode, done.stderr) == (1, "there is nobody to ask: give --yes to delete all of this\n")
    stack, server = done.stdout.splitlines()
    assert stack.split() == ["OS::Heat::Stack", f"restore-{complete}", "stack-id", "CREATE_COMPLETE"]
    assert server.split() == ["OS::Nova::Server", "new-server", "CREATE_COMPLETE"]
    assert restore.get(complete).status.state is RestoreState.COMPLETE


@pytest.mark.parametrize(
    ("answer", "code", "said", "state"),
    [
        ("\n", 1, "nothing was deleted\n", RestoreState.COMPLETE),
        ("n\n", 1, "nothing was deleted\n", RestoreState.COMPLETE),
        ("Yes\n", 0, "shows how it goes on\n", RestoreState.DESTROYING),
    ],
)
def test_destroy_asks_whoever_sits_there(complete, answer, code, said, state):
    here, there = pty.openpty()
    try:
        os.write(here, answer.encode())
        done = subprocess.run(
            processes.restore_worker("destroy", complete),
            cwd=processes.ROOT,
            stdin=there,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(here)
        os.close(there)
    assert done.stdout.endswith("Delete all of this on cloud target? [y/N] ")
    assert (done.returncode, done.stderr.endswith(said)) == (code, True)
    assert restore.get(complete).status.state is state
