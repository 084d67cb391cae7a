"""Drills are deleted when their time is over: a copy that stayed would be taken for the application some day.

A drill's time counts from its end, be it complete, failed or cancelled: a large one may take longer to build than
it is to live. One that could not be deleted is deleted again some minutes later, for as long as it is remembered.
"""

from __future__ import annotations

import logging

from restore_worker.errors import LedgerUnavailableError, UnknownRestoreError
from restore_worker.ledger import Ledger
from restore_worker.states import VERBS, Goes, RestoreState, Verb

logger = logging.getLogger(__name__)

_OVER = {RestoreState.DESTROYED, RestoreState.FORGOTTEN}


def delete_due(ledger: Ledger) -> None:
    """Begin to destroy the drills whose time is over; two that do so at the same time begin it once."""
    for restore_id in ledger.drills():
        try:
            _look(ledger, restore_id)
        except LedgerUnavailableError:
            raise
        except Exception:
            # The others are not to suffer from one that is unreadable.
            logger.exception("drill %s", restore_id, extra={"fact": "drill.unreadable", "restore": restore_id})


def _look(ledger: Ledger, restore_id: str) -> None:
    try:
        record = ledger.get(restore_id)
    except UnknownRestoreError:
        ledger.drill_is_over(restore_id)
        return
    if record.state in _OVER:
        ledger.drill_is_over(restore_id)
    due, answer = record.deleted_at, VERBS[Verb.DESTROY][record.state]
    if due is None or due > ledger.now() or not isinstance(answer, Goes):
        return
    if record.leaving:
        logger.warning(
            "drill %s is still there, and is deleted again: %s",
            restore_id,
            record.reason,
            extra={"fact": "drill.deleted_again", "restore": restore_id},
        )
    again = " and was not deleted before" if record.leaving else ""
    ledger.move(restore_id, record.state, answer.to, f"the time of the drill is over{again}")
