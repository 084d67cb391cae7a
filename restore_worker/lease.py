"""Keeps the leases of this process's running tasks alive, from one thread however many tasks there are."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews leases at a fifth of their life; one that cannot be renewed ends, and its task finds out.

    So a C library may keep the interpreter to itself for more than half of a lease's life.

    seconds: life of a lease without renewal.
    """

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._held: set[tuple[str, int | None, str]] = set()
        self._changed = threading.Condition()
        self._process = 0

    @contextlib.contextmanager
    def holding(self, restore_id: str, index: int | None, token: str) -> Iterator[None]:
        """Renew the lease of a resource, or of the restore's own step (None), until the block ends."""
        lease = (restore_id, index, token)
        with self._changed:
            self._held.add(lease)
            if self._process != os.getpid():
                # A pool's child has no thread of its parent's.
                self._process = os.getpid()
                threading.Thread(target=self._renew, name="leases", daemon=True).start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(lease)

    def _renew(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held)
            time.sleep(self._seconds / 5)
            with self._changed:
                held = list(self._held)
            for restore_id, index, token in held:
                try:
                    self._ledger.renew(restore_id, index, token, self._seconds)
                except Exception as error:  # noqa: BLE001 - the thread serves all tasks of the process
                    fields = {"fact": "lease.not_renewed", "restore": restore_id, "index": index}
                    logger.warning("lease is not renewed: %r", error, extra=fields)
