"""An attempt of a process that is to stop is broken off anywhere, but not while it makes something."""

import subprocess
import sys
import threading
import time

import pytest

from restore_worker.bank import open_bank
from restore_worker.context import RestoreContext
from restore_worker.plugin import BankData
from restore_worker.resource import Resource, ResourceKey
from restore_worker.stopping import Attempts, Stopped
from tests.support import banks
from tests.support.processes import wait_until
from tests.support.steps import checkpoint


class Notes:
    """A cloud's place, where things are noted as made."""

    def __init__(self, attempts):
        self.noted = {}
        self.undisturbed, self.go_on = attempts.undisturbed, attempts.go_on

    def made(self, key):
        return self.noted.get(key)

    def note_made(self, key, physical_id):
        if physical_id:
            self.noted[key] = physical_id


@pytest.fixture
def attempts():
    return Attempts()


@pytest.fixture
def notes(attempts):
    return Notes(attempts)


@pytest.fixture
def context(notes, tmp_path):
    written = checkpoint([[]], {0: {"chunks": 50}})
    banks.write(written, tmp_path / "karbor")
    (node,) = written.nodes
    resource = Resource(ResourceKey(node.type, node.id), node.name)
    data = BankData(50, node.metadata["checksum"])
    return RestoreContext("restore-1", written.id, resource, open_bank(str(tmp_path)), data, notes)


class Attempt(threading.Thread):
    """Runs something as an attempt; ended: with what."""

    def __init__(self, attempts, work):
        super().__init__(daemon=True)
        self.attempts, self.work, self.ended = attempts, work, None
        self.start()

    def run(self):
        try:
            with self.attempts.running():
                self.work()
            self.ended = "done"
        except Stopped:
            self.ended = "stopped"

    def end(self):
        self.join(10)
        return self.ended


def test_an_attempt_in_another_thread_is_broken_off_wherever_it_is(attempts):
    begun = threading.Event()

    def work():
        begun.set()
        while True:
            time.sleep(0.001)

    attempt = Attempt(attempts, work)
    begun.wait(10)
    attempts.stop()
    assert attempt.end() == "stopped"
    # None begins after that.
    assert Attempt(attempts, lambda: None).end() == "stopped"


def test_who_stops_is_broken_off_itself_if_it_makes_an_attempt(attempts):
    with pytest.raises(Stopped), attempts.running():
        attempts.stop()
    attempts.stop()


def test_what_is_no_attempt_goes_on(attempts):
    attempts.stop()
    attempts.go_on()
    with attempts.undisturbed():
        pass


def test_what_is_being_made_is_noted_first(attempts, context, notes):
    begun, stopped = threading.Event(), threading.Event()

    def create():
        begun.set()
        stopped.wait(10)
        time.sleep(0.01)
        return "volume-1"

    attempt = Attempt(attempts, lambda: context.once("volume", create, lambda: None))
    begun.wait(10)
    attempts.stop()
    stopped.set()
    assert (attempt.end(), notes.noted) == ("stopped", {"volume": "volume-1"})


def test_bytes_that_are_sent_while_something_is_made_stop_at_the_next_piece(attempts, context, notes):
    read = []

    def create():
        for piece in context.read_data():
            read.append(piece)
            time.sleep(0.05)
        return "image-1"

    attempt = Attempt(attempts, lambda: context.once("image", create, lambda: None))
    wait_until(lambda: read, "the first bytes")
    attempts.stop()
    assert (attempt.end(), notes.noted) == ("stopped", {})
    assert len(read) < 50


def test_many_attempts_end_and_are_stopped_in_the_same_moment(attempts):
    """What is thrown at a thread does not arrive after its attempt."""
    for _ in range(300):
        attempts = Attempts()
        threads = [Attempt(attempts, lambda: None) for _ in range(3)]
        attempts.stop()
        assert {thread.end() for thread in threads} <= {"done", "stopped"}


_TRACED = """
import sys
from restore_worker.stopping import Attempts
with Attempts().running():
    pass
sys.settrace(lambda *_: None)
(lambda: None)()
"""


def test_a_process_that_made_an_attempt_can_be_traced():
    # Python of before 3.13 hangs at the first call if it is told of an error for a thread that has none.
    subprocess.run([sys.executable, "-c", _TRACED], timeout=30, check=True)
