"""`restore-worker graph` and the page of `restore-worker report`, as files."""

import stat

import pytest

from restore_worker import restore
from tests.support.sample_banks import WEBAPP

CHECKPOINT = "3d60acf8-b132-4930-bc5b-90294204e9f6"


@pytest.mark.parametrize(
    ("name", "begins"), [("app.svg", b"<?xml"), ("app.PNG", b"\x89PNG"), ("app.mmd", b"---\ntitle: 'Checkpoint")]
)
def test_the_ending_says_how_a_checkpoint_is_drawn(cli, tmp_path, name, begins):
    ended = cli("graph", "latest", "--bank", str(WEBAPP), "-o", str(tmp_path / name))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_without_a_file_mermaid_is_printed(cli):
    printed = cli("graph", CHECKPOINT, "--bank", str(WEBAPP)).stdout
    assert f"title: 'Checkpoint {CHECKPOINT} of plan webapp-nightly'" in printed
    assert sum("-->" in line for line in printed.splitlines()) == 5


def test_a_restore_is_drawn_with_its_states_and_a_checkpoint_of_that_form_is_no_restore(redis_url, worker, cli):
    worker()
    submitted = restore.submit("latest", bank=WEBAPP, create_stack=False)
    assert submitted.wait(60).state == "complete"
    drawn = cli("graph", submitted.id).stdout
    assert f"Restore {submitted.id} of plan webapp-nightly: complete" in drawn
    assert sum(":::done" in line for line in drawn.splitlines()) == 10
    assert sum("==>" in line for line in drawn.splitlines()) >= 1
    without = cli("graph", CHECKPOINT, env={"RESTORE_BANK": str(WEBAPP)}).stdout
    assert f"Checkpoint {CHECKPOINT}" in without


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("graph", "latest", "--bank", str(WEBAPP), "-o", "app.gif"), 2, "ends with none of .svg, .png, .mmd"),
        (
            ("graph", "latest", "--bank", str(WEBAPP), "-o", "nowhere/app.svg"),
            2,
            "there is no directory 'nowhere'",
        ),
        (("graph", "nothing", "--bank", str(WEBAPP)), 1, "has no checkpoint for 'nothing'"),
        (("report", CHECKPOINT, "-o", "report.pdf"), 2, "does not end with .html"),
        (("report", CHECKPOINT, "-o", "report.html"), 1, "there is no restore"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_sentence(redis_url, cli, arguments, code, told):
    ended = cli(*arguments)
    assert ended.returncode == code
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_who_names_nothing_that_is_there_hears_of_both(redis_url, cli):
    ended = cli("graph", CHECKPOINT)
    assert ended.returncode == 1
    assert "neither a restore nor a checkpoint: there is no restore" in ended.stderr
    assert "no bank is named" in ended.stderr


def test_the_page_of_a_report_is_its_owners(redis_url, cli, tmp_path):
    submitted = restore.submit("latest", bank=WEBAPP, create_stack=False)
    ended = cli("report", submitted.id, "-o", str(tmp_path / "report.html"))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert f"report: {tmp_path / 'report.html'}" in ended.stderr
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == 0o600
    text = (tmp_path / "report.html").read_text()
    assert text.count('class="node"') == 10
    assert "nothing was restored yet" in text
