"""What a worker says of itself: a warning when it starts, and its version to whoever asks."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import worker_ready
from celery.worker.control import inspect_command

from restore_worker import __version__, redis_state, settings, traces
from restore_worker.errors import RestoreError
from restore_worker.redis_client import open_client

logger = logging.getLogger(__name__)

# Seconds that Redis may take for an answer: the worker begins only then.
_SECONDS = 5.0


@worker_ready.connect
def warn_of_losses(**_: object) -> None:
    """Warn of a Redis that may lose restores."""
    try:
        state = redis_state.look(open_client(settings.load().redis_address(), retries=0, seconds=_SECONDS))
    except RestoreError as error:
        fields = {"fact": "redis.unseen"}
        logger.warning("whether Redis may lose restores could not be seen: %s", error, extra=fields)
        return
    for complaint in filter(None, (state.evicts(), state.forgets())):
        logger.warning("%s: %s", complaint.what, complaint.mend, extra={"fact": "redis.may_lose"})
    for question in state.untold:
        logger.info("Redis does not tell %s", question, extra={"fact": "redis.untold"})


@worker_ready.connect
def warn_of_no_traces(**_: object) -> None:
    """Warn if traces are wanted that cannot be made."""
    missing = traces.lacking()
    if settings.load().otlp_endpoint and missing:
        fields = {"fact": "traces.missing"}
        logger.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but no trace is made: install %s", missing, extra=fields
        )


@inspect_command()
def restore_worker_version(state: Any) -> dict[str, str]:  # noqa: ARG001 - Celery's signature
    """Tell which restore-worker this is, for `restore-worker doctor`."""
    return {"version": __version__}
