"""The Celery application: what correctness needs is set here, what a deployment chooses in ``celeryconfig.py``.

``celery -A restore_worker.app worker`` takes the module ``celeryconfig`` (or the one that ``CELERY_CONFIG_MODULE``
names) if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from celery import Celery
from celery.utils.imports import cwd_in_path

from restore_worker import canvas, settings, transport
from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE
from restore_worker.errors import RestoreError

DAY = 86400
# With these in ``celeryconfig.py`` every message is signed, and no other one is taken: see docs/security.md.
SIGNING = ("security_key", "security_certificate", "security_cert_store")


def _defaults() -> dict[str, Any]:
    """Return what a deployment may choose otherwise; asked when the first connection is made."""
    current = settings.load()
    redis = current.redis_address()
    return {
        **redis.celery_settings(),
        "worker_concurrency": current.concurrency,
        # Redis may start after the workers, and may be away for a while.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # Seconds until a task that still runs is sent to a second worker, too: no harm, but no use either.
            "visibility_timeout": 3600,
            # Look every second for the tasks of a worker that was killed; by default it takes almost two minutes.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            # A worker that is killed while it looks keeps others from it for so many seconds, not five minutes.
            "unacked_mutex_expire": 10,
            **redis.transport_options(),
        },
        "result_backend_transport_options": redis.transport_options(),
        # A worker that is told to stop hands back what has not ended after so many seconds.
        "worker_soft_shutdown_timeout": 10.0,
        # The results that count are in the ledger.
        "result_expires": 3600,
        # Its periods are seconds: nothing to remember over a restart.
        "beat_scheduler": "celery.beat:Scheduler",
    }


def _under(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults with what a deployment chose instead: Celery would take defaults before its choices."""
    return {
        name: {**value, **chosen.get(name, {})} if isinstance(value, dict) else chosen.get(name, value)
        for name, value in _defaults().items()
    }


def _every(seconds: float, task: str) -> dict[str, Any]:
    # With no worker for an hour, one pass is as good as 720.
    return {"task": task, "schedule": seconds, "options": {"expires": seconds, "ignore_result": True}}


def _application() -> Celery:
    transport.use()
    included = ("tasks", "greeting", "logs")
    app = Celery("restore_worker", include=[f"restore_worker.{module}" for module in included])
    app.add_defaults(lambda: _under(app.loader.conf or {}))
    current = settings.load()
    name = current.celery_config
    signing = False
    with cwd_in_path():
        if find_spec(name.split(".")[0]) is not None:
            module = import_module(name)
            signing = _signs(name, vars(module))
            app.config_from_object(module)
    serializer = "auth" if signing else "json"
    app.conf.update(
        # Ids are all that a message carries, and all that may be read from one.
        accept_content=[serializer],
        task_serializer=serializer,
        result_serializer=serializer,
        event_serializer=serializer,
        # A task is done when it has ended, not when it was taken: a killed worker's tasks run again.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_consumer="restore_worker.consumer:Consumer",
        task_default_queue=QUEUE,
        task_queues={QUEUE: {}, TRANSFER_QUEUE: {}, RECONCILE_QUEUE: {}},
        task_routes=dict.fromkeys(canvas.PERIODIC, RECONCILE_QUEUE),
        task_create_missing_queues=False,
        # The life of a chord's keys without news; a shorter one would end a long restore without a word.
        result_chord_expires=7 * DAY,
        beat_schedule={
            # What is lost is noticed within a lease and a sixth of it.
            "reconcile": _every(max(1.0, min(5.0, current.lease_seconds / 6)), canvas.RECONCILE),
            "poll_stacks": _every(5.0, canvas.POLL_STACKS),
        },
    )
    if signing:
        _sign(app)
    return app


def _signs(module: str, choices: Mapping[str, Any]) -> bool:
    """Say whether a deployment wants its messages signed; RestoreError if it names some of what that takes."""
    missing = [name for name in SIGNING if not choices.get(name)]
    if missing and len(missing) < len(SIGNING):
        raise RestoreError(f"{module}: signing messages takes all of {', '.join(SIGNING)}: name {missing[0]}, too")
    return not missing


def _sign(app: Celery) -> None:
    """Load the keys; RestoreError says what is wrong with them."""
    try:
        # Celery would take its default for the digest.
        app.setup_security(digest=app.conf.security_digest)
    except RestoreError:
        raise
    except Exception as error:
        raise RestoreError(f"messages cannot be signed, see {', '.join(SIGNING)}: {error}") from error


app = _application()
