"""`restore-worker up` and `worker`, as a person starts and stops them."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from restore_worker import embedded, settings
from restore_worker.errors import RestoreError
from restore_worker.redis_client import open_client
from tests.support import processes
from tests.support.processes import Program, wait_until


@contextmanager
def running(directory, *options, **env):
    """Run `up` with a state directory in this one, until the end of the block."""
    command = processes.restore_worker("up", "--concurrency=1", *options)
    program = Program(command, directory / "up.log", {"RESTORE_HOME": str(directory / "home"), **env})
    try:
        program.wait_for("ready for restores")
        yield program
    finally:
        program.stop()
        print(program)  # noqa: T201 - pytest shows it for a test that failed


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Run one `up` for the tests that leave it as it was; its state directory."""
    directory = tmp_path_factory.mktemp("up")
    with running(directory, "--no-flower"):
        yield directory / "home"


def children(program):
    """Return the process ids of what `up` started, in the order of their start."""
    listed = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_everything_starts_stops_and_starts_again_with_its_data(tmp_path):
    with running(tmp_path, "--no-flower") as program:
        started = children(program)
        assert len(started) == 3
        assert "redis-cli" not in program.output
        with redis.Redis.from_url(embedded.address(tmp_path / "home")) as client:
            client.set("kept", "1")
        assert program.stop(signal.SIGINT) == 0
        assert program.output.endswith("up     | stopped\n")
    assert not any(map(alive, started))
    assert embedded.address(tmp_path / "home") is None

    port = processes.free_port()
    with running(tmp_path, f"--flower-port={port}") as program:
        assert f"Flower: http://127.0.0.1:{port}." in program.output
        with redis.Redis.from_url(embedded.address(tmp_path / "home")) as client:
            assert client.get("kept") == b"1"
        program.wait_for("Flower lets in user restore with password ")
        login = "restore:" + re.search(r"user restore with password (\S+)$", program.output, re.MULTILINE)[1]
        pages = f"http://127.0.0.1:{port}"
        assert "Flower" in wait_until(lambda: page(f"{pages}/broker", login), "Flower's page")
        for path in ("/", "/tasks", "/api/workers"):
            assert status(pages + path, login) == 200
            assert status(pages + path) == status(pages + path, "restore:guessed") == 401
        # The terminal was closed.
        assert program.stop(signal.SIGHUP) == 0


def asked(url, login=""):
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    return urllib.request.urlopen(request, timeout=5)


def page(url, login):
    try:
        with asked(url, login) as answer:
            return answer.read().decode()
    except OSError:
        return None


def status(url, login=""):
    try:
        with asked(url, login) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("options", "env"),
    [(["--basic-auth=me:mine"], {}), (["--basic_auth=me:mine"], {}), ([], {"FLOWER_BASIC_AUTH": "me:mine"})],
)
def test_flower_has_the_login_that_it_is_given(redis_url, tmp_path, options, env):
    port = processes.free_port()
    command = processes.restore_worker("flower", f"--port={port}", *options)
    flower = Program(command, tmp_path / "flower.log", {"RESTORE_REDIS_URL": redis_url, **env})
    try:
        url = f"http://127.0.0.1:{port}/broker"
        wait_until(lambda: page(url, "me:mine"), "Flower's page")
        assert status(url) == 401
        assert "password" not in flower.output
    finally:
        assert flower.stop() == 0


def test_a_taken_flower_port_is_told_before_anything_starts(tmp_path, cli):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("up", f"--flower-port={port}", env={"RESTORE_HOME": str(tmp_path / "home")})
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"Flower cannot have port {port} .*--flower-port, .*--no-flower\n", done.stderr)


def test_only_one_in_a_state_directory(shared, cli):
    second = cli("up", "--no-flower", env={"RESTORE_HOME": str(shared)})
    assert second.returncode == 1
    assert re.fullmatch(rf"`restore-worker up` is running already in {shared}, as process \d+\n", second.stderr)


def test_it_is_found_by_its_state_directory(shared):
    found = settings.load({"RESTORE_HOME": str(shared)})
    with open_client(found.redis_address(), retries=0) as client:
        assert client.ping()
        # The ledger must never lose a key to make room for another.
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_more_workers_join(shared, tmp_path):
    env = {"RESTORE_HOME": str(shared)}
    command = processes.restore_worker("worker", "--queues", "transfer", "-c", "1")
    more = Program(command, tmp_path / "more.log", env)
    more.wait_for(" ready.")
    listing = [sys.executable, "-m", "celery", "-A", "restore_worker.app", "inspect", "active_queues", "--json"]
    listed = subprocess.run(
        listing, env={**os.environ, **env}, cwd=processes.ROOT, capture_output=True, text=True, check=True
    )
    assert more.stop() == 0
    queues = sorted(sorted(each["name"] for each in worker) for worker in json.loads(listed.stdout).values())
    assert queues == [["reconcile", "restore", "transfer"], ["transfer"]]


def test_a_crash_leaves_nothing_in_the_way(tmp_path):
    with running(tmp_path, "--no-flower") as program:
        started = children(program)
        program.process.kill()
        wait_until(lambda: not any(map(alive, started)), "the programs notice that `up` is gone")

    def free():
        with suppress(RestoreError), embedded.ownership(tmp_path / "home"):
            return embedded.address(tmp_path / "home") is None

    # The kernel ends the worker's children right after the worker.
    wait_until(free, "nobody holds the state directory", 2)


@pytest.mark.parametrize(("place", "name"), [(0, "valkey"), (1, "worker")])
def test_it_says_which_program_ended(tmp_path, place, name):
    with running(tmp_path, "--no-flower") as program:
        started = children(program)
        os.kill(started[place], signal.SIGKILL)
        wait_until(lambda: program.process.poll() is not None, "`up` ends")
    assert program.process.returncode == 1
    assert f"{name} ended with signal SIGKILL, so everything was stopped" in program.output
    assert not any(map(alive, started))


def test_another_redis_is_used_when_it_is_set(tmp_path, redis_url):
    with running(tmp_path, "--no-flower", RESTORE_REDIS_URL=redis_url) as program:
        assert len(children(program)) == 2
        assert not (tmp_path / "home").exists()
        # That Redis is one for tests, which forgets everything.
        assert "(neither AOF nor snapshots): redis-cli CONFIG SET appendonly yes" in program.output
        assert program.stop(signal.SIGTERM) == 0


def test_a_worker_without_redis_says_what_to_do(cli, tmp_path):
    done = cli("worker", env={"RESTORE_HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "restore-worker up" in done.stderr
    assert "Traceback" not in done.stderr
