"""What callers and tasks do while nobody works, or Redis does not answer."""

import time

import pytest
from celery.exceptions import Ignore, Retry
from kombu.exceptions import OperationalError

from restore_worker import canvas, restore, tasks, worker
from restore_worker.entries import AttemptLimits
from restore_worker.errors import LedgerUnavailableError
from restore_worker.states import ResourceState, RestoreState
from restore_worker.submitted import caller_ledger
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("redis_url")


@pytest.mark.parametrize("timeout", [0, 1.5])
def test_waiting_ends_in_time(steps, timeout):
    submitted = steps.submit([[]])
    # It has news at first, and none after that.
    for _ in range(2):
        before = time.monotonic()
        with pytest.raises(TimeoutError, match=f"still pending after {timeout} seconds"):
            submitted.wait(timeout)
        assert timeout <= time.monotonic() - before < timeout + 2


def test_what_is_written_down_is_submitted_though_the_first_message_is_not_sent(steps, monkeypatch):
    def send(*_):
        raise OperationalError("connection refused")

    monkeypatch.setattr(canvas, "send_preflight", send)
    submitted = steps.submit([[]])
    assert submitted.status.state is RestoreState.PENDING
    assert [each.id for each in restore.list_restores()] == [submitted.id]


def test_a_restore_is_not_given_up_when_redis_does_not_answer_while_it_is_assembled(steps, monkeypatch):
    submitted = steps.submit([[]])
    ledger = caller_ledger()
    ledger.move(submitted.id, RestoreState.PENDING, RestoreState.CHECKING)
    ledger.begin(submitted.id)
    ledger.claim(submitted.id, 0, "token", lease=60, limits=AttemptLimits(5), worker="")
    ledger.settle(submitted.id, 0, "token", ResourceState.DONE)
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "1")
    worker.current_settings.cache_clear()
    with monkeypatch.context() as patch:

        def fragments(*_):
            raise LedgerUnavailableError

        patch.setattr(type(ledger), "fragments", fragments)
        with pytest.raises(LedgerUnavailableError):
            tasks.assemble_template(submitted.id)
    assert submitted.status.state is RestoreState.ASSEMBLING
    # First its lease has to end.
    wait_until(lambda: assembled(submitted.id), "the template is assembled")
    assert submitted.status.state is RestoreState.COMPLETE
    assert assembled(submitted.id)
    worker.current_settings.cache_clear()


def assembled(restore_id):
    """Assemble the template; whether nobody else holds that."""
    try:
        tasks.assemble_template(restore_id)
    except Ignore:
        # Somebody has done it.
        return True
    except Retry:
        return False
    return True
