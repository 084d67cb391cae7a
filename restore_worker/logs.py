"""How workers and beat write their logs: each record with the restore and the resource that it is about.

Secrets are in none: tracebacks are written without the values of variables.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog
from billiard.util import get_logger as pool_logger
from celery.signals import after_setup_logger, after_setup_task_logger, task_prerun
from structlog.types import EventDict, Processor, WrappedLogger

from restore_worker import settings
from restore_worker.errors import printable
from restore_worker.settings import LogForm

# What Celery says of each task as it comes and goes the facts say better.
_TALKERS = ("celery.worker.strategy", "celery.app.trace")


@after_setup_logger.connect
@after_setup_task_logger.connect
def write_as_set(logger: logging.Logger, **_: object) -> None:
    """Have what Celery has set up write in the form that the settings want."""
    formatter = _formatter(settings.load().log_form)
    for handler in (*logger.handlers, *pool_logger().handlers):
        handler.setFormatter(formatter)
    for talker in _TALKERS:
        logging.getLogger(talker).setLevel(logging.WARNING)


@task_prerun.connect
def name_restore(args: Sequence[object], **_: object) -> None:
    """Have all that is logged from here on name the restore that the task is of."""
    structlog.contextvars.clear_contextvars()
    if args:
        structlog.contextvars.bind_contextvars(restore=args[0])


def _formatter(form: LogForm) -> logging.Formatter:
    known: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=known, processors=_RENDERERS[form])


def _named(logger: WrappedLogger, method: str, record: EventDict) -> EventDict:  # noqa: ARG001 - structlog's call
    """Give what has no name of ours, such as a library's record, that of its logger."""
    record.setdefault("fact", record["logger"])
    return record


def _harmless(logger: WrappedLogger, method: str, record: EventDict) -> EventDict:  # noqa: ARG001 - structlog's call
    """Keep what a bank or a cloud says from steering a terminal, and from forging a line."""
    return {
        key: printable(value) if isinstance(value, str) and key != "exception" else value
        for key, value in record.items()
    }


_RENDERERS: dict[LogForm, list[Processor]] = {
    LogForm.JSON: [
        _named,
        structlog.processors.EventRenamer("message", replace_by="fact"),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ],
    LogForm.CONSOLE: [
        _harmless,
        structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False),
    ],
}
