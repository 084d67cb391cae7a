"""Who works: whether each queue has a worker, and beat runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger


# With no event for so long, somebody should look whether anybody works.
QUIET_SECONDS = 10.0


def missing(ledger: Ledger, queues: Iterable[str]) -> list[str]:
    """Return what keeps tasks on these queues from running, a sentence each."""
    from kombu.exceptions import OperationalError

    from restore_worker.app import app

    try:
        answers = app.control.inspect(timeout=1.0).active_queues() or {}
    except OperationalError:
        return ["Redis does not answer"]
    attended = {queue["name"] for queues in answers.values() for queue in queues}
    found = [f"no worker on queue {queue}" for queue in sorted(set(queues) - attended)]
    silent = ledger.unreconciled_seconds()
    if silent is None:
        found.append("no beat has run yet")
    elif silent > QUIET_SECONDS:
        found.append(f"no beat for {silent:.0f} s")
    return found
