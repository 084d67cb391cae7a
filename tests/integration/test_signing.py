"""Messages signed where the deployment wants it: see docs/security.md.

This process has no key: what it sends is what somebody else would who may write to the queues.
"""

import base64
import json
import os
import re
import subprocess
import sys

import pytest
import redis
from kombu import Connection

from restore_worker import canvas, restore
from restore_worker.app import app
from restore_worker.states import RestoreState
from tests.support import processes
from tests.support.bank_servers import WEBAPP
from tests.support.flower import flower
from tests.support.processes import wait_until
from tests.support.signing import make_keys
from tests.support.wire import body_of, broadcasts, commands, messages, names_of

BANK = str(WEBAPP.parent)
SIGNED = "application/data"
SENT = {canvas.PREFLIGHT, canvas.RESTORE_RESOURCE, canvas.ASSEMBLE, *canvas.PERIODIC}


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """Give the environment of those who have the deployment's key, and of a stranger with one of its own."""
    tmp_path = tmp_path_factory.mktemp("keys")
    for name in ("ours", "strangers"):
        make_keys(tmp_path, name)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    return {name: {"PYTHONPATH": path, "CELERY_CONFIG_MODULE": name} for name in ("ours", "strangers")}


def inspect(env, what):
    """Return what workers answer; each has a second for it, which a busy machine may miss."""
    return json.loads(wait_until(lambda: celery(env, "inspect", what, "--json").stdout, "an answer"))


def celery(env, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "celery", "--quiet", "-A", "restore_worker.app", *arguments],
        env={**os.environ, **env},
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_restore_by_signed_messages_alone(signed, redis_url, worker, cli, tmp_path):
    """Submitter, beat, reconciler, tasks, the chord and its body; also events, Flower and remote control."""
    ours = signed["ours"]
    with flower(tmp_path / "flower.log", ours) as pages, commands(redis_url) as seen:
        worker(pool="prefork", concurrency=2, options=["--beat", "--task-events"], env=ours)
        wait_until(lambda: "worker1@" in pages.read("/workers"), "Flower hears of the worker")
        done = cli("submit", "latest", "--bank", BANK, "--no-stack", "--wait", env=signed["ours"])
        asked = inspect(ours, "active_queues")
        wait_until(lambda: f"{done.stdout.strip()}.1.0" in pages.tasks(), "Flower hears of its tasks")
        _, about = pages.worker()
        # Beat's first ones may come after all of a restore that is done within its first period.
        wait_until(lambda: names_of(seen) >= SENT, "each kind of task is sent")
    assert done.returncode == 0, done.stderr
    assert {queue["name"] for queue in about["active_queues"]} == {"restore", "transfer", "reconcile"}
    ended = restore.get(done.stdout.strip())
    assert ended.status.state is RestoreState.COMPLETE
    assert ended.templates == restore.plan("latest", bank=BANK).hots
    queues = {queue["name"] for found in asked.values() for queue in found}
    assert queues == {"restore", "transfer", "reconcile"}
    sent = [*(message for _, message in messages(seen)), *broadcasts(seen)]
    assert {message["content-type"] for message in sent} == {SIGNED}


@pytest.fixture(params=["prefork", "threads"], scope="module")
def guarded(request, shared_redis, signed, shared_worker):
    """Run a worker with the deployment's key; the worker."""
    started = shared_worker(pool=request.param, concurrency=2, queues="restore,transfer", env=signed["ours"])
    yield started
    started.kill()


def unsigned(redis_url, signed, victim):
    canvas.send_preflight(app, victim, 1)


def pickled(redis_url, signed, victim):
    publish(redis_url, b"cos\nsystem\n(S'true'\ntR.", "application/x-python-serialize", victim)


def without_a_type(redis_url, signed, victim):
    publish(redis_url, json.dumps([[victim], {}, {}]).encode(), "", victim)


def signed_by_a_stranger(redis_url, signed, victim):
    send(signed["strangers"], victim, "restore")


def changed(redis_url, signed, victim):
    """Take a message that was signed for another restore, and put the victim's id into it."""
    other = "0" * len(victim)
    with redis.Redis.from_url(redis_url) as client:
        # What the worker sent when it started.
        client.delete("reconcile")
        send(signed["ours"], other, "reconcile")
        message = json.loads(client.rpop("reconcile"))
    body = base64.b64decode(body_of(message)).replace(other.encode(), victim.encode())
    assert victim.encode() in body
    publish(redis_url, base64.b64encode(body), SIGNED, victim)


def send(env, restore_id, queue):
    """Send a preflight with the key that the environment names."""
    code = f"app.send_task({canvas.PREFLIGHT!r}, ({restore_id!r},), queue={queue!r})"
    command = [sys.executable, "-c", f"from restore_worker.app import app; {code}"]
    subprocess.run(command, env={**os.environ, **env}, cwd=processes.ROOT, check=True, timeout=60)


def publish(redis_url, body, content_type, victim):
    headers = {"lang": "py", "task": canvas.PREFLIGHT, "id": f"{victim}.1.preflight", "root_id": victim}
    with Connection(redis_url) as connection:
        connection.Producer().publish(
            body,
            routing_key="restore",
            content_type=content_type,
            content_encoding="binary",
            headers=headers,
        )


FORGED = {
    unsigned: "Refusing to deserialize untrusted content of type json",
    pickled: "Refusing to deserialize untrusted content of type pickle",
    without_a_type: "Can't decode message body",
    signed_by_a_stranger: "Unknown certificate",
    changed: "Bad signature",
}


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: forged.__name__)
def test_a_forged_message_is_refused_and_does_nothing(guarded, shared_redis, signed, forged):
    before = len(guarded.output)
    victim = restore.submit("latest", bank=BANK, create_stack=False)
    # Its first message, which has no signature either.
    wait_until(lambda: victim.id in guarded.output[before:], "the first refusal")
    before = len(guarded.output)
    forged(shared_redis, signed, victim.id)
    wait_until(lambda: FORGED[forged] in guarded.output[before:], "the refusal")
    with redis.Redis.from_url(shared_redis) as client:
        wait_until(lambda: not client.exists("restore", "unacked"), "the message is gone")
    assert victim.status.state is RestoreState.PENDING
    # The worker goes on with what is genuine.
    send(signed["ours"], victim.id, "restore")
    assert victim.wait(60).state is RestoreState.COMPLETE


def test_forged_remote_control_is_refused(guarded, signed):
    before = len(guarded.output)
    app.control.shutdown()
    wait_until(lambda: "Refusing to deserialize" in guarded.output[before:], "the refusal")
    assert len(inspect(signed["ours"], "ping")) == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("security_key = 'a.key'", "signing messages takes all of .*: name security_certificate, too"),
        (
            "security_key = 'no.key'; security_certificate = 'no.pem'; security_cert_store = '*.pem'",
            "messages cannot be signed, .*'no.key'",
        ),
        (
            f"security_key = {__file__!r}; security_certificate = 'no.pem'; security_cert_store = '*.pem'",
            "messages cannot be signed, .*no.pem",
        ),
    ],
)
def test_keys_that_cannot_be_used_are_told_and_nothing_is_written(tmp_path, redis_url, cli, config, told):
    (tmp_path / "unusable.py").write_text(config)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    env = {"PYTHONPATH": path, "CELERY_CONFIG_MODULE": "unusable"}
    done = cli("submit", "latest", "--bank", BANK, "--no-stack", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(told, done.stderr)
    assert "Traceback" not in done.stderr
    assert restore.list_restores() == []
