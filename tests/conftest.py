"""What all tests stand on: a clean environment, no skipped tests, real processes."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import hypothesis
import pytest

from tests.support import processes

_FOREIGN = ("RESTORE_", "OS_", "AWS_", "CELERY_", "FLOWER_", "XDG_", "SWIFT_", "ST_")
_scratch = tempfile.TemporaryDirectory(prefix="restore-worker-tests-")


def pytest_configure() -> None:
    """Leave the clouds, banks and restores of whoever runs the tests alone."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            del os.environ[name]
    os.environ["HOME"] = os.environ["RESTORE_HOME"] = _scratch.name
    # A shell has what it runs in the background ignore Ctrl-C, nohup a closed terminal, and so would all that the
    # tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# At home new examples each time, in CI the same ones each time.
hypothesis.settings.register_profile("dev", deadline=None, max_examples=200)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """Run one Redis for all tests of this process; its URL.

    Celery takes the first address that it is asked with for good: that is this one, whatever a test sets later.
    """
    with processes.redis_server() as url:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RESTORE_REDIS_URL", url)
            from restore_worker.app import app

            assert app.conf.broker_url == url
        yield url


@pytest.fixture
def redis_url(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty Redis that everything here takes for the one of the deployment."""
    processes.empty(redis_server)
    monkeypatch.setenv("RESTORE_REDIS_URL", redis_server)
    return redis_server


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., processes.Program]]:
    """Give `processes.start_worker` without its log; the workers end with the test, their logs are shown if it fails."""
    started: list[processes.Program] = []
    numbers = itertools.count(1)

    def start(**choices: object) -> processes.Program:
        program = processes.start_worker(tmp_path / f"worker{next(numbers)}.log", **choices)  # type: ignore[arg-type]  # they are checked there
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        print(program)  # noqa: T201 - pytest shows it for a test that failed


@pytest.fixture
def cli() -> Callable[..., CompletedProcess[str]]:
    """Give `processes.run_cli`."""
    return processes.run_cli


_collected = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Let no test be skipped or expected to fail: what was not tried is not known to work."""
    return _strict((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Let no module be skipped either."""
    return _strict((yield))


def _strict(report: pytest.TestReport | pytest.CollectReport) -> pytest.TestReport | pytest.CollectReport:
    expected = report.__dict__.pop("wasxfail", None)
    if report.skipped or expected is not None:
        report.outcome = "failed"
        report.longrepr = f"tests must not be skipped or expected to fail: {expected or report.longrepr}"
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note how many tests there are."""
    session.config.stash[_collected] = len(session.items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: object, ids: list[str]) -> None:
    """Note the same where other processes collect."""
    node.config.stash[_collected] = len(ids)  # type: ignore[attr-defined]  # xdist has no types


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell whether every test ran and passed."""
    collected, passed = config.stash.get(_collected, 0), len(terminalreporter.stats.get("passed", []))
    same = f"collected = passed = {passed}"
    terminalreporter.write_line(same if collected == passed else f"collected {collected}, passed {passed}")
