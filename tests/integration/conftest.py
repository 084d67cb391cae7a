"""What tests with real workers stand on: a stranger's plugin, and processes that a whole module shares."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.steps import Steps, installed


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    """Have the stranger's plugin installed, and give what submits its resources."""
    folder = tmp_path_factory.mktemp("steps")
    with installed(folder / "log"):
        yield Steps(folder)


@pytest.fixture(scope="module")
def shared_redis(redis_server: str) -> Iterator[str]:
    """Give the URL of a Redis that is empty when the module's tests begin."""
    processes.empty(redis_server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_REDIS_URL", redis_server)
        yield redis_server


@pytest.fixture(scope="module")
def shared_worker(
    shared_redis: str, steps: Steps, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., processes.Program]]:
    """Give `processes.start_worker` without its log; the workers end with the module."""
    folder = tmp_path_factory.mktemp("workers")
    started: list[processes.Program] = []
    numbers = itertools.count(1)

    def start(**choices: object) -> processes.Program:
        program = processes.start_worker(folder / f"shared{next(numbers)}.log", **choices)  # type: ignore[arg-type]  # they are checked there
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()


@pytest.fixture
def obstacle(tmp_path: Path) -> Path:
    """Give a file that holds resources up as long as it is there."""
    file = tmp_path / "obstacle"
    file.touch()
    return file
