"""`restore-worker watch`, on a terminal and elsewhere."""

import json
import re

import pytest

from restore_worker import restore
from tests.support import processes
from tests.support.sample_banks import WEBAPP, damaged_webapp
from tests.support.terminal import Terminal


@pytest.fixture
def submitted(redis_url):
    return restore.submit("latest", bank=WEBAPP, create_stack=False)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60)])
def test_on_a_terminal_all_is_on_one_screen_until_it_ends(submitted, worker, width, height):
    with Terminal(processes.restore_worker("watch", submitted.id), width, height) as terminal:
        terminal.wait_for("0/10 resources")
        assert "· OS::Cinder::Volume web-uploads" in "\n".join(terminal.screen)
        worker()
        assert terminal.end() == 0
        seen = terminal.screen
    assert seen[0].startswith(f"Restore {submitted.id}  webapp-nightly")
    assert "✔ checking  ✔ restoring  ✔ assembling  · creating  complete" in seen[1]
    assert seen[2].endswith("10/10 resources")
    assert sum("✔ OS::" in line for line in seen) == 10
    # It is drawn over what was there, not below it.
    assert terminal.text.count("Restore ") == 1


def test_it_says_who_is_missing_and_ctrl_c_ends_the_looking_alone(submitted):
    with Terminal(processes.restore_worker("watch", submitted.id), 80, 24) as terminal:
        terminal.wait_for("! no worker on queue restore")
        terminal.type(b"\x03")
        assert terminal.end() == 130
        assert f"restore {submitted.id} goes on: `restore-worker watch" in terminal.text.replace("\n", "")
        assert "Traceback" not in terminal.text
    assert submitted.status.state == "pending"


def test_submit_watches_too_and_prints_its_result(redis_url, worker):
    worker()
    command = processes.restore_worker("submit", "latest", "--bank", str(WEBAPP), "--no-stack", "--watch")
    with Terminal(command, 120, 40) as terminal:
        assert terminal.end() == 0
        assert re.search(r"10/10 resources", terminal.text)
        [newest] = restore.list_restores()
        assert terminal.text.startswith(newest.id)


def test_a_failure_stays_on_the_screen_with_its_reason(redis_url, tmp_path, worker, damaged_bank):
    submitted = restore.submit("latest", bank=damaged_bank, create_stack=False)
    worker()
    with Terminal(processes.restore_worker("watch", submitted.id), 100, 40) as terminal:
        assert terminal.end() == 1
        assert "✘ OS::Glance::Image ubuntu-18.04-web" in terminal.text
        assert f"`restore-worker resume {submitted.id}`" in terminal.text
        assert "Traceback" not in terminal.text


@pytest.fixture
def damaged_bank(tmp_path):
    return damaged_webapp(tmp_path)


def test_programs_get_a_stream_of_events(submitted, worker, cli):
    worker()
    watched = cli("watch", submitted.id, "-f", "json")
    assert (watched.returncode, watched.stderr) == (0, "")
    told = [json.loads(line) for line in watched.stdout.splitlines()]
    events = [each for each in restore.get(submitted.id).watch() if each]
    assert [each["id"] for each in told] == [each.id for each in events]
    assert [each["event"] for each in told] == [each.name for each in events]
    done = [each["resource"] for each in told if each["event"] == "done"]
    assert {"type": "OS::Cinder::Volume", "name": "web-uploads"}.items() <= next(
        each for each in done if each["name"] == "web-uploads"
    ).items()
    assert len({each["id"] for each in done}) == 10
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", each["time"]) for each in told)


def test_without_a_terminal_it_is_a_line_a_fact_unless_a_screen_is_wanted(submitted, worker, cli):
    worker()
    assert cli("watch", submitted.id).stdout.endswith("[10/10] complete\n")
    assert cli("watch", submitted.id, "--format", "lines").stdout == cli("watch", submitted.id).stdout
    assert "10/10 resources" in cli("watch", submitted.id, "--format", "screen").stdout
