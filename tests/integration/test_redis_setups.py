"""Every Redis that people run serves ledger, broker and result backend, from one URL."""

import pytest

from restore_worker import restore
from tests.support.processes import Program, restore_worker, run_cli, wait_until
from tests.support.redis_setups import PASSWORD, SETUPS, make_tls, under_sentinel

SECONDS = 60
# 0 and 1 stand alone; 2 needs 0, 3 needs both, 4 needs 3.
GRAPH = [[], [], [0], [0, 1], [3]]


def request(bank, file):
    return ("submit", "latest", "--bank", str(bank), "--no-stack", "--wait", "--export", str(file))


@pytest.mark.parametrize("setup", SETUPS)
def test_a_restore_from_submit_to_complete(setup, steps, worker, tmp_path):
    bank, file = steps.write(GRAPH), tmp_path / "app.yaml"
    with SETUPS[setup](tmp_path) as url:
        env = {"RESTORE_REDIS_URL": url}
        started = worker(options=["--beat"], pool="prefork", concurrency=2, env=env)
        done = run_cli(*request(bank, file), env=env)
        assert done.returncode == 0, done.stderr
        assert file.read_text() == restore.plan("latest", bank=bank).hots[0].text
        assert PASSWORD[:16] not in started.output + done.stdout + done.stderr


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_the_master_is_killed_in_mid_restore(encrypted, steps, worker, obstacle, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "5")
    bank, file = steps.write(GRAPH, {1: {"ends": "held", "obstacle": str(obstacle)}}), tmp_path / "app.yaml"
    with under_sentinel(tmp_path, make_tls(tmp_path) if encrypted else None) as redis:
        env = {"RESTORE_REDIS_URL": redis.url}
        first = redis.master_port()
        one = worker(options=["--beat"], env=env)
        submit = Program(restore_worker(*request(bank, file)), tmp_path / "submit.log", env)
        submit.wait_for("done Test::Step step 2")
        redis.master.kill()
        # It is done while there is nobody to tell.
        obstacle.unlink()
        try:
            wait_until(lambda: redis.master_port() != first, "the replica has taken over")
            assert submit.process.wait(SECONDS) == 0, submit.output
        finally:
            submit.kill()
        assert one.process.poll() is None
        restore_id = submit.output.splitlines()[0]
        # What was done is not done again; the lease of s1 may have ended while there was no master.
        calls = steps.calls(restore_id)
        assert (calls.count("s0"), calls.count("s2")) == (1, 1)
        assert PASSWORD[:16] not in one.output + submit.output
    assert file.read_text() == restore.plan("latest", bank=bank).hots[0].text
    lines = submit.output.splitlines()
    assert [line for line in lines if " done " in line] == list(
        dict.fromkeys(line for line in lines if " done " in line)
    )
    assert sum(" done " in line for line in lines) == len(GRAPH)
