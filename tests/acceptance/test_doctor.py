"""`restore-worker doctor`: each broken set-up is really set up, and its fault is named, with its mend, and no other."""

import json
import os
import re
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from restore_worker import __version__, crew, redis_state, settings
from restore_worker.diagnosis import Diagnosis, Health, within
from tests.support.processes import free_port, run_cli, start_worker
from tests.support.redis_setups import PASSWORD, SAFE, Server, running, url
from tests.support.sample_banks import WEBAPP
from tests.support.stub_identity import PASSWORD as CLOUD_PASSWORD
from tests.support.stub_identity import Answer, StubIdentity, stub_identity, write_clouds

LOGIN = f":{quote(PASSWORD, safe='')}@"
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), CLOUD_PASSWORD, "wrong-password")
QUEUES = ("restore", "transfer", "reconcile")


@dataclass(frozen=True)
class Whole:
    """A set-up in which nothing is wrong; a test breaks one thing in a copy."""

    folder: Path
    server: Server
    cloud: StubIdentity
    database: int = 0
    redis: str = ""
    bank: str = str(WEBAPP)
    clouds: Path = Path()
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.redis or url(self.server.port, LOGIN, self.database)

    def examine(self):
        """Run the command; its exit code, and what is not ok by subject."""
        env = {"RESTORE_REDIS_URL": self.url, "RESTORE_BANK": self.bank, "OS_CLIENT_CONFIG_FILE": str(self.clouds)}
        done = run_cli("doctor", "-f", "json", *self.options, env=env | self.env)
        assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
        assert "Traceback" not in done.stderr
        rows = json.loads(done.stdout)
        assert all(row["Mend"] for row in rows if row["State"] in {"warning", "wrong"})
        assert all(not row["Mend"] for row in rows if row["State"] == "ok")
        return done.returncode, {row["Check"]: row for row in rows if row["State"] != "ok"}, rows


@contextmanager
def configured(server, **options):
    """Change the server's configuration until the end of the block."""
    with server.client(password=PASSWORD) as client:
        before = {name: client.config_get(name)[name] for name in (each.replace("_", "-") for each in options)}
        for name, value in options.items():
            client.config_set(name.replace("_", "-"), value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    server = Server(folder / "redis", {**SAFE, "requirepass": f'"{PASSWORD}"'})
    with running(server), stub_identity() as cloud:
        clouds = write_clouds(folder / "clouds.yaml", target=cloud.entry())
        made = Whole(folder, server, cloud, clouds=clouds)
        with attended(made, "--beat"):
            yield made


@pytest.fixture(autouse=True)
def _whole_cloud(whole):
    whole.cloud.grants.clear()
    whole.cloud.answers.clear()
    whole.cloud.answers["GET /orchestration/stacks"] = [Answer(200, {"stacks": []})]


@contextmanager
def attended(setup, *options, queues="restore,transfer,reconcile", app="restore_worker.app"):
    """Have a worker in a set-up until the end of the block."""
    log = setup.folder / f"worker{setup.database}-{app}-{queues}.log"
    worker = start_worker(log, app=app, queues=queues, options=options, env={"RESTORE_REDIS_URL": setup.url})
    try:
        yield
    finally:
        worker.kill()


def test_nothing_is_wrong(whole):
    code, faults, rows = whole.examine()
    assert (code, faults) == (0, {})
    subjects = ("redis", "eviction", "persistence", "memory", "clock", "workers")
    others = (*(f"queue {name}" for name in QUEUES), "beat", "plugins", "bank", "cloud target")
    assert [row["Check"] for row in rows] == [*subjects, *others]
    found = {row["Check"]: row["Found"] for row in rows}
    assert found["redis"].startswith("Valkey 9")
    assert found["redis"].endswith(f" answers at redis://127.0.0.1:{whole.server.port}/0")
    assert found["workers"] == f"1 worker, restore-worker {__version__}"
    assert found["queue transfer"] == "1 worker, and 0 tasks wait"
    assert found["bank"].startswith("1 checkpoints in file://")
    assert "of http://127.0.0.1" in found["cloud target"]


def test_people_get_a_line_for_each(whole):
    env = {"RESTORE_REDIS_URL": whole.url, "OS_CLIENT_CONFIG_FILE": str(whole.clouds), "RESTORE_BANK": "/nowhere"}
    done = run_cli("doctor", env=env)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert sum(line.startswith("ok ") for line in lines) == len(lines) - 1
    (wrong,) = (line for line in lines if line.startswith("wrong "))
    assert wrong.split() == wrong.replace("  ", " ").split()
    assert " bank " in wrong
    assert wrong.endswith(" -> correct --bank or RESTORE_BANK, or mount the bank here")


UNSEEN = {"workers": "unknown", "beat": "unknown"}


def no_redis(whole, stack):
    return replace(whole, redis=url(free_port(), LOGIN))


def silent_redis(whole, stack):
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return replace(whole, redis=url(listener.getsockname()[1], LOGIN))


def wrong_password(whole, stack):
    return replace(whole, redis=url(whole.server.port, ":wrong-password@"))


def no_redis_named(whole, stack):
    return replace(whole, env={"RESTORE_REDIS_URL": "", "RESTORE_HOME": str(whole.folder / "home")})


def no_rights(whole, stack):
    with whole.server.client(password=PASSWORD) as client:
        client.execute_command("ACL", "SETUSER", "nobody", "on", f">{PASSWORD}", "+ping", "+client")
    return replace(whole, redis=url(whole.server.port, f"nobody{LOGIN}"))


def another(whole, stack, options):
    server = Server(whole.folder / next(iter(options)), {**SAFE, **options, "requirepass": f'"{PASSWORD}"'})
    stack.enter_context(running(server))
    return replace(whole, redis=url(server.port, LOGIN))


def cluster(whole, stack):
    return another(whole, stack, {"cluster-enabled": "yes", "cluster-port": str(free_port())})


def replica(whole, stack):
    options = {"replicaof": f"127.0.0.1 {whole.server.port}", "masterauth": f'"{PASSWORD}"'}
    return another(whole, stack, options)


def eviction(whole, stack):
    stack.enter_context(configured(whole.server, maxmemory_policy="allkeys-lru"))
    return whole


def no_persistence(whole, stack):
    stack.enter_context(configured(whole.server, appendonly="no", save=""))
    return whole


def little_memory(whole, stack):
    with whole.server.client(password=PASSWORD) as client:
        used = client.info("memory")["used_memory"]
    stack.enter_context(configured(whole.server, maxmemory=int(used / 0.95)))
    return whole


def no_worker(whole, stack):
    with whole.server.client(password=PASSWORD, db=1) as client:
        client.lpush("transfer", "a task")
    return replace(whole, database=1)


def no_worker_for_transfers(whole, stack):
    setup = replace(whole, database=2)
    with setup.server.client(password=PASSWORD, db=2) as client:
        client.lpush("transfer", "a task", "another one")
    stack.enter_context(attended(setup, "--beat", queues="restore,reconcile"))
    return setup


def no_beat(whole, stack):
    setup = replace(whole, database=3)
    stack.enter_context(attended(setup))
    return setup


def older_worker(whole, stack):
    stack.enter_context(attended(whole, app="tests.support.older_app"))
    return whole


def no_bank(whole, stack):
    return replace(whole, options=("--bank", str(whole.folder / "no-bank")))


def other_directory(whole, stack):
    (whole.folder / "other").mkdir()
    return replace(whole, bank=str(whole.folder / "other"))


def empty_bank(whole, stack):
    (whole.folder / "empty/checkpoints").mkdir(parents=True)
    return replace(whole, bank=str(whole.folder / "empty"))


def unknown_cloud(whole, stack):
    return replace(whole, options=("--cloud", "tarket"))


def broken_clouds(whole, stack):
    file = whole.folder / "broken.yaml"
    file.write_text(f"clouds: [{CLOUD_PASSWORD}]")
    return replace(whole, clouds=file)


def refused_login(whole, stack):
    whole.cloud.answers["POST /v3/auth/tokens"] = [Answer(401, {"error": {"message": "no", "code": 401}})]
    return whole


def cloud_away(whole, stack):
    away = whole.cloud.entry(auth={"auth_url": f"http://127.0.0.1:{free_port()}/v3"})
    both = write_clouds(whole.folder / "two.yaml", target=whole.cloud.entry(), away=away)
    return replace(whole, clouds=both)


def restricted(whole, stack):
    whole.cloud.grants["application_credential"] = {"id": "ac", "name": "ac", "restricted": True}
    return whole


def no_heat(whole, stack):
    whole.cloud.answers["GET /orchestration/stacks"] = [Answer(403, {"error": {"message": "not for you"}})]
    return whole


def broken_plugin(whole, stack):
    folder = whole.folder / "packages/broken-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[restore_worker.plugins]\nbroken = there_is_no_such_module:Plugin\n")
    path = os.pathsep.join([str(folder.parent), os.environ.get("PYTHONPATH", "")])
    return replace(whole, env={"PYTHONPATH": path})


FAULTS = {
    no_redis: (
        "redis",
        "wrong",
        "Redis does not answer: .*refused",
        "start it, or correct RESTORE_REDIS_URL",
        UNSEEN,
    ),
    silent_redis: ("redis", "wrong", "Redis does not answer: Timeout", "start it, or correct", UNSEEN),
    wrong_password: ("redis", "wrong", "refuses the login", "correct the login in RESTORE_REDIS_URL", UNSEEN),
    no_redis_named: ("redis", "wrong", "there is no Redis to work with", "start `restore-worker up`", UNSEEN),
    no_rights: ("redis", "wrong", "no permissions to run the 'time'", "what the user may do in Redis", UNSEEN),
    cluster: ("redis", "wrong", "this is a Redis Cluster", "single server", UNSEEN),
    replica: (
        "redis",
        "wrong",
        "this is a replica",
        r"its master .* or the Sentinels: redis\+sentinel://",
        UNSEEN,
    ),
    eviction: (
        "eviction",
        "wrong",
        "maxmemory-policy is allkeys-lru",
        "CONFIG SET maxmemory-policy noeviction",
        {},
    ),
    no_persistence: ("persistence", "warning", "neither AOF nor snapshots", "CONFIG SET appendonly yes", {}),
    little_memory: ("memory", "warning", "MiB are used of", "CONFIG SET maxmemory", {}),
    no_worker: (
        "workers",
        "wrong",
        "none answers, and 1 task waits",
        "restore-worker worker",
        {"beat": "unknown"},
    ),
    no_worker_for_transfers: (
        "queue transfer",
        "wrong",
        "no worker .* 2 tasks wait",
        "worker --queues transfer",
        {},
    ),
    no_beat: ("beat", "wrong", r"silent for \d+ s", "celery -A restore_worker.app beat", {}),
    older_worker: ("workers", "warning", r"but worker0-.* is 0\.0\.1", "the same version everywhere", {}),
    no_bank: ("bank", "wrong", "no directory", "correct --bank or RESTORE_BANK", {}),
    other_directory: ("bank", "wrong", "/other", "correct --bank or RESTORE_BANK", {}),
    empty_bank: ("bank", "warning", "no checkpoint in file:///.*/empty", "whether it is the right one", {}),
    unknown_cloud: ("cloud tarket", "wrong", "no cloud 'tarket', it names target", "clouds.yaml, or OS_CLOUD", {}),
    broken_clouds: ("clouds", "wrong", "clouds.yaml cannot be read", "correct clouds.yaml", {}),
    refused_login: ("cloud target", "wrong", r"refuses .*\(HTTP 401\)", "correct its entry in clouds.yaml", {}),
    cloud_away: ("cloud away", "wrong", "cloud away does not answer", "whether this machine reaches it", {}),
    restricted: ("cloud target", "wrong", "restricted application credential", "clouds.yaml", {}),
    no_heat: ("cloud target", "wrong", "refuses when listing the stacks .*403", "clouds.yaml", {}),
    broken_plugin: ("plugins", "wrong", r"plugin broken \(there_is", "uninstall it", {}),
}


@pytest.mark.parametrize("broken", FAULTS, ids=lambda broken: broken.__name__)
def test_one_thing_is_wrong_and_nothing_else(broken, whole):
    subject, state, found, mend, unknown = FAULTS[broken]
    with ExitStack() as stack:
        code, faults, _ = broken(whole, stack).examine()
    assert code == (state == "wrong")
    assert {name: row["State"] for name, row in faults.items()} == {subject: state, **unknown}
    assert re.search(found, faults[subject]["Found"])
    assert re.search(mend, faults[subject]["Mend"])


def test_what_redis_refuses_to_tell_is_unknown_and_not_wrong(whole):
    with whole.server.client(password=PASSWORD) as client:
        rules = ("~*", "&*", "+@all", "-@dangerous", "-info", "-config")
        client.execute_command("ACL", "SETUSER", "guest", "on", f">{PASSWORD}", *rules)
    with configured(whole.server, appendonly="no", save="", maxmemory_policy="allkeys-lru"):
        code, faults, _ = replace(whole, redis=url(whole.server.port, f"guest{LOGIN}")).examine()
    assert code == 0
    assert {name: row["State"] for name, row in faults.items()} == dict.fromkeys(
        ("eviction", "persistence", "memory"), "unknown"
    )


def test_a_clock_that_is_wrong(whole, monkeypatch):
    # Nobody may set the clock of this machine: to the measurement alone it is another time.
    monkeypatch.setattr(redis_state, "time", SimpleNamespace(time=lambda: time.time() - 60))
    found = crew.check_redis(settings.load({"RESTORE_REDIS_URL": whole.url}))
    clock = next(each for each in found if each.subject == "clock")
    assert clock == Diagnosis("clock", Health.WARNING, "this machine is 60 s behind Redis", clock.mend)
    assert "NTP" in clock.mend


def test_what_hangs_is_told_and_waited_for_no_longer():
    never = Event()

    def hangs():
        yield Diagnosis("one", Health.OK, "at once")
        never.wait()

    def breaks():
        raise ZeroDivisionError(PASSWORD)

    found = within(0.3, {"slow": hangs, "bad": breaks, "good": lambda: [Diagnosis("good", Health.OK, "")]})
    never.set()
    assert [(each.subject, each.health.value, each.found) for each in found] == [
        ("one", "ok", "at once"),
        ("slow", "wrong", "no answer within 0.3 s"),
        ("bad", "wrong", "unforeseen: ZeroDivisionError"),
        ("good", "ok", ""),
    ]


def test_a_worker_that_starts_warns_of_a_redis_that_may_lose_restores(whole, tmp_path):
    env = {"RESTORE_REDIS_URL": whole.url}
    with configured(whole.server, appendonly="no", save="", maxmemory_policy="volatile-ttl"):
        worker = start_worker(tmp_path / "warned.log", env=env)
        worker.kill()
    warnings = [line for line in worker.output.splitlines() if "redis-cli" in line]
    assert len(warnings) == 2
    assert "[warning]" in warnings[0]
    assert (
        warnings[0]
        .partition("(maxmemory-policy is volatile-ttl): ")[2]
        .startswith("redis-cli CONFIG SET maxmemory-policy noeviction")
    )
    assert "neither AOF nor snapshots): redis-cli CONFIG SET appendonly yes" in warnings[1]
    worker = start_worker(tmp_path / "content.log", env=env)
    worker.kill()
    assert "redis-cli" not in worker.output
