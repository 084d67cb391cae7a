"""Workers of an earlier version and today's work on one restore: each runs the scripts of its own version."""

import itertools
import json

import pytest
import redis

from restore_worker.entries import Claimed, Held, StackLog
from restore_worker.ledger import Ledger
from restore_worker.ledger_reader import DUE, FOLLOWED, keys_of
from restore_worker.stack_ledger import Begun
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import HeatResource, dump_fragment
from tests.support import restores
from tests.support.recorded import FOLDER
from tests.support.restores import DIAMOND, LONG, states

FRAGMENT = HeatResource("OS::Heat::Value", {"value": "x"})


class Today:
    """What a worker asks of the ledger, in this version."""

    def __init__(self, client):
        self.ledger = Ledger(client)

    def begin(self, restore_id):
        return [node.index for node in self.ledger.begin(restore_id)]

    def claim(self, restore_id, index, token):
        return isinstance(restores.claim(self.ledger, restore_id, index, token), Claimed)

    def held(self, restore_id, index):
        return isinstance(restores.claim(self.ledger, restore_id, index, "a copy's"), Held)

    def wait(self, restore_id, index, token):
        return self.ledger.wait(restore_id, index, token, 0.0, "for a while", counts=True)

    def note_made(self, restore_id, index, token):
        self.ledger.note_made(restore_id, index, token, "volume", f"volume-{index}")
        return 1

    def settle(self, restore_id, index, token, state):
        fragments = {f"id-{index}": FRAGMENT} if state is ResourceState.DONE else {}
        settled = self.ledger.settle(restore_id, index, token, state, "why", fragments)
        return [node.index for node in settled.released]

    def move(self, restore_id, old, new):
        return self.ledger.move(restore_id, old, new)

    def resume(self, restore_id):
        return self.ledger.resume(restore_id)

    def look(self, restore_id, index):
        return self.ledger.look(restore_id, index, {}) is not None

    def ask(self, restore_id):
        assert self.ledger.stacks.begin(restore_id, RestoreState.CREATING, "none", keep=True) == Begun(
            "none", asked=False
        )
        return self.ledger.stacks.asked(restore_id, RestoreState.CREATING, "stack-1")

    def observe(self, restore_id):
        log = StackLog(id="stack-1", status="CREATE_COMPLETE", reason="", seen="event-1")
        return self.ledger.stacks.observe(restore_id, RestoreState.CREATING, log, [], [], seen_before="")


class Earlier:
    """The same as a worker of the earlier version asks it, of its own scripts."""

    def __init__(self, client):
        self._script = client.register_script((FOLDER / "ledger.lua").read_text())
        self._stacks = client.register_script((FOLDER / "stack_ledger.lua").read_text())

    def _run(self, restore_id, verb, *arguments):
        keys = [*keys_of(restore_id).values(), DUE, FOLLOWED]
        return self._script(keys=keys, args=[verb, restore_id, 30.0, *arguments])

    def _of_stack(self, restore_id, verb, *arguments):
        keys = keys_of(restore_id)
        names = [keys[name] for name in ("record", "stack", "built", "events")]
        return self._stacks(keys=[*names, FOLLOWED], args=[verb, "creating", restore_id, *arguments])

    def begin(self, restore_id):
        state, nodes = self._run(restore_id, "begin")
        assert state == "restoring"
        return [int(index) for index in nodes[::2]]

    def claim(self, restore_id, index, token):
        answer = self._run(restore_id, "claim", index, token, LONG, 3, "an earlier worker")
        # Its Python reads these.
        return answer[0] == "claimed" and len(answer) == 9

    def held(self, restore_id, index):
        return self._run(restore_id, "claim", index, "a copy's", LONG, 3, "an earlier worker")[0] == "held"

    def wait(self, restore_id, index, token):
        return self._run(restore_id, "wait", index, token, 0.0, "for a while", 1) == 1

    def note_made(self, restore_id, index, token):
        return self._run(restore_id, "note_made", index, token, "volume", f"volume-{index}")

    def settle(self, restore_id, index, token, state):
        fragments = [f"id-{index}", dump_fragment(FRAGMENT)] if state is ResourceState.DONE else []
        status, released = self._run(restore_id, "settle", index, token, state.value, "why", *fragments)
        assert status == "settled"
        return [int(index) for index in released[::2]]

    def move(self, restore_id, old, new):
        return self._run(restore_id, "move", old.value, new.value, "", 30.0) == 1

    def resume(self, restore_id):
        return self._run(restore_id, "resume")

    def look(self, restore_id, index):
        return self._run(restore_id, "look", "" if index is None else index, ",,")[0] not in ("later", "over")

    def ask(self, restore_id):
        assert self._of_stack(restore_id, "begin", "none", 1) == ["none", 0]
        return self._of_stack(restore_id, "asked", "stack-1")

    def observe(self, restore_id):
        news = json.dumps({"built": {}, "events": []})
        return self._of_stack(restore_id, "observe", "stack-1", "", "event-1", "CREATE_COMPLETE", "", news)


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture(params=range(4), ids="{:02b}".format)
def turns(client, request):
    """Give who is next: both in turn, in two orders, or in twos."""
    pair = [Earlier(client), Today(client)]
    order = pair if request.param % 2 else pair[::-1]
    if request.param > 1:
        order = [order[0], *order, order[1]]
    cycle = itertools.cycle(order)
    return lambda: next(cycle)


def restore_one(restore_id, index, turns, state=ResourceState.DONE):
    """Restore a resource in two attempts, while the other version tries to; what it released."""
    first, other = turns(), turns()
    assert first.claim(restore_id, index, f"first {index}")
    assert other.held(restore_id, index)
    assert first.wait(restore_id, index, f"first {index}")
    second = turns()
    assert second.claim(restore_id, index, f"second {index}")
    assert second.note_made(restore_id, index, f"second {index}")
    return second.settle(restore_id, index, f"second {index}", state)


def restore_all(restore_id, ready, turns):
    """Restore what is ready, and what that releases."""
    while ready:
        ready += restore_one(restore_id, ready.pop(0), turns)


def test_one_restore_through_both(client, turns):
    ledger = Ledger(client)
    restore_id = restores.record(ledger)
    assert turns().move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    ready = turns().begin(restore_id)
    assert ready == [0, 4]
    restore_all(restore_id, ready, turns)
    assert states(ledger, restore_id) == "do" * len(DIAMOND)
    assert [each.attempts for each in ledger.resources(restore_id)] == [2] * len(DIAMOND)
    assert sorted(ledger.fragments(restore_id)) == [f"id-{index}" for index in range(len(DIAMOND))]
    assert ledger.all_made(restore_id) == {index: {"volume": f"volume-{index}"} for index in range(len(DIAMOND))}
    assert turns().move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    assert turns().move(restore_id, RestoreState.ASSEMBLING, RestoreState.CREATING)
    assert turns().ask(restore_id)
    assert turns().observe(restore_id)
    assert ledger.stacks.followed() == [restore_id]
    assert turns().move(restore_id, RestoreState.CREATING, RestoreState.COMPLETE)
    record = ledger.get(restore_id)
    assert (record.state, record.left, record.failed) == (RestoreState.COMPLETE, 0, 0)
    assert (ledger.stacks.get(restore_id).status, ledger.stacks.followed()) == ("CREATE_COMPLETE", [])
    assert client.ttl(keys_of(restore_id)["record"]) > 0


def test_one_that_fails_and_is_resumed_through_both(client, turns):
    ledger = Ledger(client)
    restore_id = restores.record(ledger)
    assert turns().move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    assert turns().begin(restore_id) == [0, 4]
    assert restore_one(restore_id, 4, turns) == []
    assert restore_one(restore_id, 0, turns, ResourceState.FAILED) == [1, 2]
    for index in (1, 2, 3):
        assert not turns().claim(restore_id, index, "t"), "it is skipped"
    assert states(ledger, restore_id) == "faskskskdo"
    assert turns().move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    assert turns().move(restore_id, RestoreState.ASSEMBLING, RestoreState.FAILED)
    assert turns().resume(restore_id) == 2
    assert turns().move(restore_id, RestoreState.PENDING, RestoreState.CHECKING)
    restore_all(restore_id, turns().begin(restore_id), turns)
    assert states(ledger, restore_id) == "do" * len(DIAMOND)
    assert ledger.get(restore_id).left == 0


def test_what_one_released_and_lost_the_other_sends_again(client, turns):
    ledger = Ledger(client)
    restore_id = restores.begin(ledger)
    assert restore_one(restore_id, 0, turns) == [1, 2]
    for place in (1, 2, 4, 0):
        client.zadd(DUE, {f"{restore_id}/{place}": 1})
    assert [turns().look(restore_id, place) for place in (1, 2, 4, 0)] == [True, True, True, False]


def test_one_that_the_earlier_version_resumed_takes_turns_anew(client):
    ledger, size = Ledger(client, share=4), 24
    restore_id = restores.record(ledger, ((),) * size)
    restores.go_on(ledger, restore_id)
    for index in (1, 2):
        restores.do(ledger, restore_id, index, ResourceState.FAILED)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert Earlier(client).resume(restore_id) == 2
    # All are in line or sent anew, also what it does not know to have been in line.
    ready, seen = restores.go_on(ledger, restore_id), []
    assert len(ready) == 8
    while ready:
        seen.append(ready.pop(0))
        ready += [node.index for node in restores.claim(ledger, restore_id, seen[-1]).drawn]
        assert len(ready) <= 8
    assert sorted(seen) == list(range(size))
