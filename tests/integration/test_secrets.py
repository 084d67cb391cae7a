"""No secret leaves the processes that use it, nor the bank: not in messages, Redis, logs, Flower, files or commands.

Messages carry ids only.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from restore_worker import canvas, cloud, restore
from restore_worker.states import RestoreState
from tests.support import banks, nodes, processes
from tests.support.bank_servers import CHECKPOINT, broken_server, serving, webapp
from tests.support.banks import BankCheckpoint, Node
from tests.support.flower import Flower, flower
from tests.support.planted import planted
from tests.support.processes import run_cli, wait_until
from tests.support.steps import checkpoint, installed
from tests.support.stub_heat import StubHeat
from tests.support.stub_identity import Answer, StubIdentity, stub_identity, write_clouds
from tests.support.wire import body_of, commands, held, messages, names_of

SECONDS = 60
# Bytes on the wire, with what Celery and kombu put around ids.
LARGEST_MESSAGE = 2000
CONFIGURED = {"CELERY_CONFIG_MODULE": "sentinels"}
SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OS_PASSWORD",
    "OS_TOKEN",
    "OS_APPLICATION_CREDENTIAL_SECRET",
)


@pytest.fixture
def hidden(tmp_path, redis_url, monkeypatch):
    """Give by name all that is secret: in the environment of this process and of workers, and in the bank."""
    marks = {name: secrets.token_hex(16) for name in (*SECRETS, "clouds", "application", "bank", "sentinel")}
    auth = {"auth_url": "http://127.0.0.1:1/v3"}
    clouds = {
        "target": {"auth": auth | {"username": "u", "password": marks["clouds"]}},
        "other": {
            "auth_type": "v3applicationcredential",
            "auth": auth
            | {"application_credential_id": "i", "application_credential_secret": marks["application"]},
        },
    }
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": clouds}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("OS_CLOUD", "target")
    for name in SECRETS:
        monkeypatch.setenv(name, marks[name])
    # As a deployment with Sentinels has it.
    (tmp_path / "sentinels.py").write_text(
        f"broker_transport_options = {{'sentinel_kwargs': {{'password': {marks['sentinel']!r}}}}}\n"
        "result_backend_transport_options = broker_transport_options\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return {**marks, "redis": urlsplit(redis_url).password}


@pytest.fixture
def bank(tmp_path, hidden):
    """Give the URL of the web application's bank in S3, with secrets in all metadata that nobody asked for."""
    (tmp_path / "s3").mkdir()
    with pytest.MonkeyPatch.context() as patch, serving("s3", tmp_path / "s3") as kind:
        for name in SECRETS:
            patch.setenv(name, hidden[name])
        yield kind.put("karbor", planted(webapp(), hidden["bank"]))


def leaks(hidden: dict[str, str], texts: dict[str, str]) -> list[tuple[str, str]]:
    """Return where which secret is to be read, without saying it."""
    return [(where, name) for where, text in texts.items() for name, mark in hidden.items() if mark in text]


def commands_of(submitted: restore.Restore, bank: str, directory) -> dict[str, str]:
    """Return what the commands print of a restore, and what they write."""
    of_restore = (("show",), ("show", "-f", "json"), ("watch",), ("template",))
    lines = [
        *((*words, submitted.id) for words in of_restore),
        ("list", "-f", "json"),
        ("template", submitted.id, "--output", str(directory / "app.yaml")),
        ("checkpoint", "show", "latest", "--bank", bank, "-f", "json"),
        ("plan", "latest", "--bank", bank),
        ("-vv", "--debug", "plan", "latest", "--bank", bank, "-f", "json"),
    ]
    told = {}
    for line in lines:
        done = run_cli(*line)
        told[" ".join(line)] = done.stdout + done.stderr
    return told | {path.name: path.read_text() for path in directory.glob("app*.yaml")}


def calls(part) -> Iterator[tuple[list, dict]]:
    """Yield the arguments of all calls to tasks that are anywhere in a message's body."""
    if isinstance(part, dict) and "task" in part:
        yield part["args"], {key: value for key, value in part["kwargs"].items() if key != "tasks"}
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from calls(inner)


@pytest.mark.parametrize("refused", [False, True])
def test_secrets_stay_where_they_are_and_messages_carry_ids(hidden, bank, redis_url, worker, tmp_path, refused):
    """Refused: the bank lets workers in no more, and what they say of it tells no secret either."""
    options = ["--beat", "--task-events"]
    with (
        broken_server(403) as broken,
        flower(tmp_path / "flower.log", CONFIGURED) as pages,
        commands(redis_url) as seen,
    ):
        started = worker(options=options, env=CONFIGURED | ({"AWS_ENDPOINT_URL": broken} if refused else {}))
        wait_until(lambda: "worker1@" in pages.read("/workers"), "Flower sees the worker")
        submitted = restore.submit(CHECKPOINT, bank=bank, create_stack=False)
        ended = submitted.wait(SECONDS)
        last = {canvas.POLL_STACKS} | (set() if refused else {canvas.CREATE_STACK})
        wait_until(lambda: last <= names_of(seen), "what beat sends, and the end of the canvas")
        shown = all_pages(pages, submitted.id)
    assert ended.state is (RestoreState.FAILED if refused else RestoreState.COMPLETE), ended
    sent = messages(seen)
    bodies = [json.loads(body_of(message)) for _, message in sent]
    about = {
        "commands to Redis": repr(seen),
        "messages": repr(bodies),
        "Redis": held(redis_url),
        "the worker's log": started.output,
        "Flower's tasks": shown["/api/tasks"],
    }
    assert [where for where, text in about.items() if submitted.id not in text] == []
    told = {**about, **shown, "Flower's log": pages.program.output, **commands_of(submitted, bank, tmp_path)}
    assert leaks(hidden, told) == []

    after = {canvas.RESTORE_RESOURCE, canvas.ASSEMBLE, canvas.CREATE_STACK}
    assert names_of(seen) - set(canvas.PERIODIC) == {canvas.PREFLIGHT} | (set() if refused else after)
    ids = {submitted.id, *range(ended.size)}
    for args, kwargs, options in bodies:
        for these, named in [(args, kwargs), *calls(options)]:
            assert set(these) <= ids
            assert named == {}
    assert max(len(text.encode()) for text, _ in sent) <= LARGEST_MESSAGE


def all_pages(pages: Flower, restore_id: str) -> dict[str, str]:
    """Return what Flower shows of its workers and of a restore's tasks, on every page and by its API."""
    tasks = wait_until(lambda: [each for each in pages.tasks() if each.startswith(restore_id)], "Flower's tasks")
    name, whole = pages.worker()
    # The settings and the connection are there to be looked at.
    assert "broker_url" in whole["conf"]
    assert "sentinel_kwargs" in whole["conf"]["broker_transport_options"]
    assert whole["stats"]["broker"]["transport"] == "redis"
    paths = [
        *("/", "/workers?refresh=1", "/workers?json=1", f"/worker/{name}", "/broker", "/tasks", "/metrics"),
        *("/api/workers", "/api/workers?refresh=1", "/api/tasks", "/api/task/types", "/api/queues/length"),
        *(f"{kind}/{task}" for task in tasks for kind in ("/task", "/api/task/info", "/api/task/result")),
    ]
    return {path: pages.read(path) for path in paths} | {"table of tasks": pages.table()}


@pytest.fixture
def site(hidden, tmp_path, monkeypatch) -> Iterator[StubIdentity]:
    """Give a cloud with Keystone and Heat: `target` with a password, `other` with an application credential."""
    with stub_identity() as stub:
        own = {"application_credential_id": "i", "application_credential_secret": hidden["application"]}
        credential = {"auth_type": "v3applicationcredential", "auth": {"auth_url": f"{stub.url}/v3"} | own}
        target = stub.entry(auth={"password": hidden["clouds"]})
        write_clouds(tmp_path / "clouds.yaml", target=target, other=credential)
        monkeypatch.setattr(cloud, "_connections", {})
        stub.heat = StubHeat(Random(0))
        yield stub


def good(stub: StubIdentity, told: str) -> None:
    """Let everything be."""


def refused_login(stub: StubIdentity, told: str) -> None:
    """Let the submitter in, and no worker."""
    first = Answer(201, stub.token(), {"X-Subject-Token": "token-1"})
    stub.answers["POST /v3/auth/tokens"] = [first, Answer(401, {"error": {"code": 401, "message": told}})]


def refused_stack(stub: StubIdentity, told: str) -> None:
    """Let workers in, and allow them no stack."""
    stub.grants["application_credential"] = {"id": "i", "name": "mine", "restricted": False}
    refusal = {"code": 403, "error": {"message": told, "type": "Forbidden"}}
    stub.answers["POST /orchestration/stacks"] = [Answer(403, refusal)]


@pytest.mark.parametrize(
    ("name", "arrange", "ends", "reason"),
    [
        ("target", good, RestoreState.COMPLETE, ""),
        (
            "target",
            refused_login,
            RestoreState.FAILED,
            "preflight: cloud target refuses .*HTTP 401.*: you said ***",
        ),
        (
            "other",
            refused_stack,
            RestoreState.FAILED,
            "Heat: cloud other refuses .*HTTP 403.*: you said ***",
        ),
    ],
    ids=["good", "refused-login", "refused-stack"],
)
def test_what_logs_in_to_a_cloud_is_not_repeated_where_the_cloud_does(  # noqa: PLR0913, PLR0917 - what there is, and a case
    hidden, site, redis_url, worker, tmp_path, name, arrange, ends, reason
):
    used = hidden["application" if name == "other" else "clouds"]
    # The submitter's token is the first one.
    site.heat.words = f"you said {used} and token-2"
    arrange(site, f"you said {used}")
    bank = str(tmp_path / "steps")
    banks.write(checkpoint([(), (0,)]), tmp_path / "steps" / "karbor")
    with (
        installed(tmp_path / "stranger"),
        flower(tmp_path / "flower.log", CONFIGURED) as pages,
        commands(redis_url) as seen,
    ):
        started = worker(options=["--beat", "--task-events"], env=CONFIGURED)
        wait_until(lambda: "worker1@" in pages.read("/workers"), "Flower sees the worker")
        submitted = restore.submit("latest", bank=bank, cloud=name)
        ended = submitted.wait(SECONDS)
        shown = all_pages(pages, submitted.id)
        # The last two log in once more.
        printed = {}
        for line in (
            ("show", submitted.id, "-f", "json"),
            ("show", submitted.id),
            ("doctor", "--cloud", name, "--bank", bank),
            ("submit", "latest", "--cloud", name, "--bank", bank, "--force"),
        ):
            done = run_cli("-vv", "--debug", *line)
            printed[" ".join(line[:1] + line[2:])] = done.stdout + done.stderr
    pattern = re.escape(reason).replace(re.escape(".*"), ".*")
    assert (ended.state, bool(re.match(pattern, ended.reason))) == (ends, True), ended
    logins = [each for each in site.requests if each.method == "POST" and each.path == "/v3/auth/tokens"]
    assert len(logins) > 1
    assert [each for each in logins if used.encode() not in each.body] == []
    assert site.heat.strange == []
    assert bool(site.heat.stacks) == (ends is RestoreState.COMPLETE)

    about = {
        "commands to Redis": repr(seen),
        "messages": repr([json.loads(body_of(message)) for _, message in messages(seen)]),
        "Redis": held(redis_url),
        "the worker's log": started.output,
        "Flower's tasks": shown["/api/tasks"],
        "its reason and events": repr((ended, list(submitted.watch()))),
    }
    assert [where for where, text in about.items() if submitted.id not in text] == []
    # What was repeated came through.
    assert "you said ***" in about["Redis"] + "".join(printed.values())
    marks = {**hidden, **{f"token {number}": f"token-{number}" for number in range(1, len(logins) + 1)}}
    told = {**about, **shown, "Flower's log": pages.program.output, **printed}
    assert leaks(marks, told) == []


def test_a_refusal_quotes_nothing_of_what_it_cannot_restore(hidden, redis_url, tmp_path):
    """Freezer's key to S3, a type without a plugin, and definitions that are no good."""
    mark = hidden["bank"]
    job = {"storage": "s3", "access_key": "key", "secret_key": mark, "actions": [{"password": mark}]}
    kept = (
        nodes.volume("volume-1", job_info=job),
        Node("OS::Manila::Share", "share-1", "s", None, {"share_proto": "CIFS", "access_rules": [{"key": mark}]}),
        Node("OS::Trove::Instance", "base-1", "t", None, {"users": [{"name": "root", "password": mark}]}),
        Node("OS::Kubernetes::Pod", "pod-1", "p", None, {"pod_metadata": {"env": [{"value": mark}]}}),
        Node(nodes.SERVER, "server-1", "w", None, {"server_metadata": {"flavor": {"password": mark}}}),
        Node(nodes.IMAGE, "image-1", "i", None, b'{"image_metadata": {"password": "' + mark.encode() + b'"'),
    )
    banks.write(BankCheckpoint(nodes=kept, extra_info={"password": mark}), tmp_path / "karbor")
    request = ("latest", "--bank", str(tmp_path))
    told = {}
    for words in (
        ("plan",),
        ("plan", "-f", "json"),
        ("--debug", "-vv", "submit", "--no-stack"),
        ("checkpoint", "show"),
    ):
        done = run_cli(*words, *request)
        told[" ".join(words)] = done.stdout + done.stderr
    for command in ("plan", "plan -f json", "--debug -vv submit --no-stack"):
        assert [node.id for node in kept if node.id not in told[command]] == []
    assert leaks(hidden, {**told, "Redis": held(redis_url)}) == []


def test_the_banners_of_programs_hide_the_login(hidden, redis_url, tmp_path):
    """As the Procfile starts them, with what they are connected to."""
    for line in (processes.ROOT / "Procfile").read_text().splitlines():
        name, _, started = line.partition(": ")
        log = tmp_path / f"{name}.log"
        words = [f"--port={processes.free_port()}"] if name in {"flower", "metrics"} else []
        command, *rest = started.split()
        program = processes.Program([str(Path(sys.executable).with_name(command)), *rest, *words], log)
        try:
            program.wait_for(
                {"beat": "beat: Starting", "flower": "Visit me at", "metrics": "/metrics"}.get(name, " ready.")
            )
        finally:
            program.kill()
        assert name in {"flower", "metrics"} or "redis://:**@" in program.output
        assert leaks(hidden, {name: program.output}) == []
