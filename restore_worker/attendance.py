"""Who works: whether each queue has a worker, and beat runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from restore_worker.errors import LedgerUnavailableError

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger


# With no event for so long, somebody should look whether anybody works.
QUIET_SECONDS = 10.0


class Attendant(NamedTuple):
    """A worker that answers. version: of its restore-worker, None if it is one that does not tell."""

    queues: frozenset[str]
    version: str | None


def attendants(seconds: float) -> dict[str, Attendant]:
    """Return by name the workers that answer two questions, each within so many seconds.

    LedgerUnavailableError if they cannot be asked.
    """
    from restore_worker.app import app

    def ask(question: str) -> dict[str, Any]:
        answers = app.control.broadcast(question, reply=True, timeout=seconds) or []
        return {name: answer for each in answers for name, answer in each.items()}

    try:
        queues, versions = ask("active_queues"), ask("restore_worker_version")
    except _lost() as error:
        raise LedgerUnavailableError(f"workers cannot be asked: {error}") from error
    return {
        name: Attendant(frozenset(queue["name"] for queue in taken), versions.get(name, {}).get("version"))
        for name, taken in queues.items()
    }


def missing(ledger: Ledger, queues: Iterable[str]) -> list[str]:
    """Return what keeps tasks on these queues from running, a sentence each."""
    from restore_worker.app import app

    try:
        answers = app.control.inspect(timeout=1.0).active_queues() or {}
    except _lost():
        return ["Redis does not answer"]
    attended = {queue["name"] for queues in answers.values() for queue in queues}
    found = [f"no worker on queue {queue}" for queue in sorted(set(queues) - attended)]
    silent = ledger.unreconciled_seconds()
    if silent is None:
        found.append("no beat has run yet")
    elif silent > QUIET_SECONDS:
        found.append(f"no beat for {silent:.0f} s")
    return found


def _lost() -> tuple[type[Exception], ...]:
    """Return what Celery raises when Redis does not answer: Kombu's error, or the client's own."""
    from kombu.exceptions import OperationalError

    from restore_worker.app import app

    return (OperationalError, *app.connection_for_read().connection_errors)
