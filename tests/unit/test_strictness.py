"""A test that does not run must not pass for one that does: see tests/conftest.py."""

import subprocess
import sys

import pytest

from tests.support import processes

PASSES = "def test(): pass\n"


def run(tmp_path, text):
    (tmp_path / "test_it.py").write_text(f"import pytest\n{PASSES}{text}")
    options = ("-q", "-p", "tests.conftest", f"--rootdir={tmp_path}", "-c", "/dev/null")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_passes_is_counted(tmp_path):
    done = run(tmp_path, "def test_too(): pass")
    assert done.returncode == 0
    assert "collected = passed = 2\n" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "def test_skips(): pytest.skip('not today')",
        "@pytest.mark.skip\ndef test_skipped(): pass",
        "@pytest.mark.xfail\ndef test_fails(): assert 0",
        "@pytest.mark.xfail\ndef test_passes(): pass",
    ],
)
def test_a_test_that_is_let_off_fails(tmp_path, text):
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert "collected 2, passed 1\n" in done.stdout
    assert "tests must not be skipped or expected to fail" in done.stdout


def test_a_module_that_is_let_off_fails(tmp_path):
    done = run(tmp_path, "pytest.importorskip('no_such_module')")
    assert done.returncode != 0
    assert "tests must not be skipped" in done.stdout
