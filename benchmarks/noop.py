"""Tasks that do nothing, in the same workers and with the same settings as those of a restore."""

from __future__ import annotations

from restore_worker.app import app


@app.task(name="benchmarks.noop", ignore_result=True)
def noop() -> None:
    """Do nothing, as quickly as Celery can."""


@app.task(name="benchmarks.noop_with_result")
def noop_with_result() -> None:
    """Do nothing, and let the caller know."""
