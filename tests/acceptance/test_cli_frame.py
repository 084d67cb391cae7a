"""What all commands have in common."""

import re

import pytest


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_help_lists_the_commands(cli, arguments):
    done = cli(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("checkpoint list", "plan", "submit", "up", "worker"):
        assert re.search(rf"^  {name} +\w", done.stdout, re.MULTILINE)
    assert "Could not" not in done.stdout


@pytest.mark.parametrize("arguments", [["restor"], ["up", "--no-such-option"], ["show"]])
def test_wrong_usage_is_2(cli, arguments):
    assert cli(*arguments).returncode == 2


def test_a_bad_setting_is_told_in_one_line(cli):
    done = cli("list", env={"RESTORE_KEEP_DAYS": "soon"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("environment variable RESTORE_KEEP_DAYS: ")
    assert done.stderr.count("\n") == 1
