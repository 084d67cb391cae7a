"""What the canvas leans on in Celery, with a real worker: see the docstring of `restore_worker.canvas`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection

from restore_worker import canvas, transport
from restore_worker.entries import STEPS, Node, Priority, list_of
from tests.support import processes
from tests.support.processes import wait_until

# Sends only: the tasks are in the worker.
transport.use()
app = Celery("sender", set_as_current=False)
# A queue that no worker takes from.
NOBODY = "nobody"


@pytest.fixture(scope="module", autouse=True)
def _worker(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    processes.empty(redis_server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_REDIS_URL", redis_server)
        app.conf.update(broker_url=redis_server, result_backend=redis_server)
        app.conf.update(task_default_queue="restore", result_chord_expires=1000)
        log = tmp_path_factory.mktemp("celery") / "worker.log"
        program = processes.start_worker(log, app="tests.support.chord_app", queues="restore,transfer")
        yield
        program.kill()
        print(program)  # noqa: T201 - pytest shows it for a test that failed


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


class Chord:
    """One chord of its own, epoch 1."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self.client = client
        self.id = name

    def declare(self, size: int) -> None:
        canvas.declare(app, self.id, 1, size)

    def send(self, *indices: int, queue: str = "restore", priority: Priority = Priority.HIGH) -> None:
        nodes = [Node(index, "Type::A", f"id-{index}", "web", queue) for index in indices]
        canvas.send_resources(app, self.id, 1, nodes, priority)

    def behave(self, what: str | int, letters: Iterable[str]) -> None:
        self.client.rpush(f"behave:{self.id}:{what}", *letters)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.client.lrange(f"told:{self.id}", 0, -1)]

    @property
    def ran(self) -> list[str | int]:
        return [each["what"] for each in self.told]

    def key(self, kind: str) -> str:
        return f"celery-taskset-meta-{self.id}.1{kind}"

    @property
    def parts(self) -> int:
        return self.client.zcard(self.key(".j"))

    def wait_for(self, what: str | int, times: int = 1) -> None:
        wait_until(lambda: self.ran.count(what) >= times, f"{what} of {self.id}, {times} times: {self.ran}")

    def wait_for_parts(self, number: int) -> None:
        wait_until(lambda: self.parts == number, f"{number} parts of {self.id}, there are {self.parts}")


@pytest.fixture
def chord(client: redis.Redis, request: pytest.FixtureRequest) -> Chord:
    return Chord(client, request.node.name)


@pytest.fixture
def settle(client: redis.Redis, request: pytest.FixtureRequest):
    """Give what returns when the worker has run all that was sent before: what did not happen by then, does not."""

    def run() -> None:
        after = Chord(client, f"after {request.node.name}")
        # One for each thread of the worker, and then the body's two.
        after.declare(8)
        after.send(*range(8))
        after.wait_for("create_stack")

    return run


def test_a_message_carries_its_place_in_the_chord_and_little_more(chord: Chord, client: redis.Redis) -> None:
    chord.send(3, queue=NOBODY)
    (text,) = client.lrange(NOBODY, 0, -1)
    client.delete(NOBODY)
    message = json.loads(text)
    headers = message["headers"]
    assert (headers["id"], headers["task"]) == (f"{chord.id}.1.3", canvas.RESTORE_RESOURCE)
    assert (headers["group"], headers["group_index"], headers["root_id"]) == (f"{chord.id}.1", 3, f"{chord.id}.1")
    assert (headers["shadow"], headers["ignore_result"]) == ("restore Type::A web", True)
    arguments, named, embedded = json.loads(base64.b64decode(message["body"]))
    assert (arguments, named) == ([chord.id, 3], {})
    body = embedded["chord"]
    assert [each["task"] for each in body["kwargs"]["tasks"]] == [canvas.ASSEMBLE, canvas.CREATE_STACK]
    assert all((each["args"], each["immutable"]) == ([chord.id], True) for each in body["kwargs"]["tasks"])
    assert len(text) < 2500


def test_the_size_of_a_chord_is_declared_before_any_part_is_sent(chord: Chord, client: redis.Redis) -> None:
    chord.declare(7)
    assert client.get(chord.key(".s")) == "7"
    assert 0 < client.ttl(chord.key(".s")) <= 1000
    chord.declare(7)
    assert client.get(chord.key(".s")) == "7"


def test_the_body_is_called_once_after_as_many_parts_as_were_declared(chord: Chord, settle) -> None:
    chord.declare(4)
    for index in (2, 0, 3):
        chord.send(index)
        chord.wait_for(index)
    chord.wait_for_parts(3)
    assert chord.ran == [2, 0, 3]
    chord.send(1)
    chord.wait_for("create_stack")
    settle()
    assert chord.ran == [2, 0, 3, 1, "assemble", "create_stack"]


def test_many_are_sent_in_one_go(chord: Chord) -> None:
    chord.declare(100)
    chord.send(*range(100))
    chord.wait_for("create_stack")
    assert sorted(each for each in chord.ran if isinstance(each, int)) == list(range(100))
    assert chord.ran[-2:] == ["assemble", "create_stack"]


def test_the_oldest_message_of_a_queue_is_known(client: redis.Redis) -> None:
    def oldest() -> list[tuple[str, int] | None]:
        return [canvas.oldest(app, NOBODY, priority) for priority in Priority]

    assert oldest() == [None, None, None]
    for number, priority in enumerate(Priority, 1):
        nodes = [Node(index, "T", str(index), "", NOBODY) for index in (7, 8)]
        canvas.send_resources(app, f"restore-{number}", 2, nodes, priority)
    app.send_task(canvas.PREFLIGHT, task_id="restore-4.1.preflight", queue=NOBODY)
    assert oldest() == [("restore-1", 7), ("restore-2", 7), ("restore-3", 7)]
    client.rpop(NOBODY, 2)
    assert oldest() == [("", 0), ("restore-2", 7), ("restore-3", 7)]
    client.delete(*(list_of(NOBODY, priority) for priority in Priority))


def test_what_has_a_higher_priority_is_taken_first(client: redis.Redis) -> None:
    queue = app.amqp.queues.new_missing(NOBODY)
    for priority in reversed(Priority):
        canvas.send_resources(app, str(priority), 1, [Node(1, "T", "1", "", NOBODY)], priority)
    taken = []
    with app.connection_for_read() as connection, connection.SimpleQueue(queue) as messages:
        for _ in Priority:
            message = messages.get(timeout=5)
            taken.append(message.headers["id"])
            message.ack()
    assert taken == ["high.1.1", "normal.1.1", "low.1.1"]


def test_a_task_that_runs_again_keeps_its_priority(chord: Chord, client: redis.Redis) -> None:
    chord.behave(3, "r")
    chord.declare(1)
    chord.send(3, priority=Priority.LOW)
    chord.wait_for("create_stack")
    assert [each["priority"] for each in chord.told if each["what"] == 3] == [STEPS[Priority.LOW]] * 2


def test_a_part_that_runs_twice_counts_once(chord: Chord, settle) -> None:
    chord.declare(2)
    chord.send(0, 0)
    chord.wait_for(0, times=2)
    settle()
    assert (chord.parts, chord.ran) == (1, [0, 0])
    chord.send(1)
    chord.wait_for("create_stack")
    # Nor does a late copy call the body again.
    chord.send(0, 1)
    chord.wait_for(1, times=2)
    settle()
    assert (chord.ran.count("assemble"), chord.ran.count("create_stack")) == (1, 1)


def test_the_size_may_be_declared_again_while_parts_return(chord: Chord, settle) -> None:
    chord.declare(2)
    chord.send(0)
    chord.wait_for_parts(1)
    chord.declare(2)
    chord.send(1)
    chord.wait_for("create_stack")
    chord.declare(2)
    chord.send(1)
    chord.wait_for(1, times=2)
    settle()
    assert (chord.ran.count("assemble"), chord.ran.count("create_stack")) == (1, 1)


def test_a_retry_is_the_same_part_in_the_same_place(chord: Chord, settle) -> None:
    chord.declare(2)
    chord.behave(0, "rr")
    chord.send(0, queue="transfer")
    chord.wait_for(0, times=3)
    chord.wait_for_parts(1)
    first, *others = chord.told
    assert [each.pop("retries") for each in (first, *others)] == [0, 1, 2]
    assert others == [first, first]
    assert first == {
        "what": 0,
        "id": f"{chord.id}.1.0",
        "group": f"{chord.id}.1",
        "group_index": 0,
        "shadow": "restore Type::A web",
        "queue": "transfer",
        "priority": 0,
        "root": f"{chord.id}.1",
        "chord": True,
    }
    chord.send(1)
    chord.wait_for("create_stack")
    settle()
    assert chord.ran == [0, 0, 0, 1, "assemble", "create_stack"]


def test_parts_count_though_their_results_are_ignored(chord: Chord, client: redis.Redis) -> None:
    chord.declare(1)
    chord.send(0)
    chord.wait_for("create_stack")
    assert not [key for key in client.scan_iter("celery-task-meta-*") if chord.id in key]

    def kept() -> set[str]:
        return {key for key in client.scan_iter() if key.startswith(chord.key(""))}

    # Celery cleans up once it has sent the chord's body.
    wait_until(lambda: kept() <= {chord.key(".c")}, "only what tells that it is done is left")


def test_an_ignored_part_counts_when_it_is_sent_again(chord: Chord, settle) -> None:
    chord.declare(2)
    chord.behave(0, "i")
    chord.send(0)
    chord.wait_for(0)
    chord.send(1)
    chord.wait_for_parts(1)
    settle()
    assert (chord.parts, chord.ran) == (1, [0, 1])
    chord.send(0)
    chord.wait_for("create_stack")


def test_a_part_that_raises_spoils_the_chord_hence_none_does(chord: Chord, settle) -> None:
    chord.declare(2)
    chord.behave(0, "f")
    chord.send(0, 1)
    chord.wait_for(1)
    settle()
    assert sorted(chord.ran) == [0, 1]


def test_what_is_ignored_in_the_first_task_of_the_body_stops_the_second(chord: Chord, settle) -> None:
    chord.declare(1)
    chord.behave("assemble", "i")
    chord.send(0)
    chord.wait_for("assemble")
    settle()
    assert chord.ran == [0, "assemble"]


def test_nothing_stays_of_a_chord_that_is_closed_and_late_parts_change_nothing(
    chord: Chord, client: redis.Redis, settle
) -> None:
    chord.declare(3)
    chord.send(0, 1)
    chord.wait_for_parts(2)
    canvas.close(app, chord.id, 1)
    chord.send(0, 2)
    chord.wait_for(2)
    settle()
    assert [key for key in client.scan_iter() if key.startswith(chord.key(""))] == [chord.key(".c")]
    assert 0 < client.ttl(chord.key(".c")) <= 7200
    assert sorted(chord.ran) == [0, 0, 1, 2]


def test_the_body_can_be_sent_without_its_chord(chord: Chord) -> None:
    for times in (1, 2):
        canvas.send_body(app, chord.id)
        chord.wait_for("create_stack", times)
    assert chord.ran == 2 * ["assemble", "create_stack"]


@pytest.mark.parametrize(
    "url", ["redis://host/0", "rediss://host/0?ssl_cert_reqs=none", "sentinel://host:26379/0"]
)
def test_kombu_takes_our_transport_wherever_a_url_says_redis(url: str) -> None:
    with Connection(url) as connection:
        assert connection.get_transport_cls().__module__ == transport.__name__


def test_a_channel_has_one_client_until_its_connection_is_lost(redis_server: str) -> None:
    with Connection(redis_server) as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second is not channel.client
        channel._disconnect_pools()
        with channel.conn_or_acquire() as other:
            assert other is not first
            assert other.ping()
