"""`openstack restore ...`: the same commands under the program that OpenStack's users know."""

import json
import subprocess
import sys
from pathlib import Path

from restore_worker.cli.main import _COMMANDS
from tests.support.sample_banks import WEBAPP

PROGRAMS = {"up", "worker", "flower", "metrics"}


def openstack(*arguments):
    return subprocess.run(
        [str(Path(sys.executable).with_name("openstack")), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_all_commands_are_there_but_those_that_run_programs():
    listed = openstack("help", "restore").stdout.splitlines()
    found = {line.strip().removeprefix("restore ") for line in listed if line.startswith("  restore ")}
    assert found == _COMMANDS.keys() - PROGRAMS


def test_a_checkpoint_is_submitted_watched_and_shown_without_any_login(redis_url, worker):
    worker()
    submitted = openstack("restore", "submit", "latest", "--bank", str(WEBAPP), "--no-stack", "--wait")
    assert submitted.returncode == 0, submitted.stderr
    shown = json.loads(openstack("restore", "show", submitted.stdout.strip(), "-f", "json").stdout)
    assert (shown["state"], shown["size"]) == ("complete", 10)
    watched = openstack("restore", "watch", submitted.stdout.strip())
    assert watched.stdout.splitlines()[-1] == "[10/10] complete"


def test_its_cloud_is_the_target(redis_url, tmp_path, monkeypatch):
    login = {"auth_url": "http://127.0.0.1:9/v3", "username": "u", "password": "p", "project_name": "p"}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"away": {"auth": login}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    ended = openstack("--os-cloud", "away", "restore", "plan", "latest", "--bank", str(WEBAPP), "--no-verify")
    assert ended.returncode == 1
    assert "cloud away does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_mistake_is_a_sentence(redis_url):
    ended = openstack("restore", "show", "nothing")
    assert ended.returncode == 1
    assert "'nothing' is no id of a restore" in ended.stderr
    assert "Traceback" not in ended.stderr
