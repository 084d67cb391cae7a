"""How workers and beat write their logs: each record with the restore and the resource that it is about.

Each resource has two at least, so a line is made with few calls. Secrets are in none: tracebacks are written
without the values of variables.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from billiard.util import get_logger as pool_logger
from celery.signals import after_setup_logger, after_setup_task_logger, task_prerun

from restore_worker import settings
from restore_worker.errors import printable
from restore_worker.facts import about
from restore_worker.settings import LogForm

# What Celery says of each task as it comes and goes the facts say better.
_TALKERS = ("celery.worker.strategy", "celery.app.trace")
# What every record has, and what is written of each; all else was given to it.
_WRITTEN = {"message", "asctime", "timestamp", "level", "logger", "stack", "exception"}
_COMMON = frozenset({*vars(logging.makeLogRecord({})), *_WRITTEN})
# With one of these a value is quoted.
_PARTING = frozenset(" =\"'")
_encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode


@after_setup_logger.connect
@after_setup_task_logger.connect
def write_as_set(logger: logging.Logger, **_: object) -> None:
    """Have what Celery has set up write in the form that the settings want."""
    formatter = Formatter(settings.load().log_form)
    for handler in (*logger.handlers, *pool_logger().handlers):
        handler.setFormatter(formatter)
    for talker in _TALKERS:
        logging.getLogger(talker).setLevel(logging.WARNING)


@task_prerun.connect
def name_restore(args: Sequence[object], **_: object) -> None:
    """Have all that is logged from here on name the restore that the task is of."""
    about.set({"restore": str(args[0])} if args else {})


class Formatter(logging.Formatter):
    """Writes what a record says, what it is about, and what was given to it."""

    def __init__(self, form: LogForm) -> None:
        super().__init__()
        self._render = _RENDERERS[form]

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record: one, and its traceback."""
        when = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "timestamp": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            **about.get(),
            **{key: value for key, value in record.__dict__.items() if key not in _COMMON},
            "logger": record.name,
        }
        if record.stack_info:
            fields["stack"] = record.stack_info
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = self.formatException(record.exc_info)
        return self._render(record.getMessage(), fields)


def _json(message: str, fields: Mapping[str, object]) -> str:
    # What has no name of ours, such as a library's record, has that of its logger.
    told = {**fields, "event": fields.get("fact", fields["logger"]), "message": message}
    told.pop("fact", None)
    return _encode(told)


def _console(message: str, fields: dict[str, object]) -> str:
    # What a bank or a cloud says steers no terminal, and makes no line of its own.
    level, logger, timestamp = (fields.pop(each) for each in ("level", "logger", "timestamp"))
    trace = "".join(f"\n  {printable(line)}" for line in str(fields.pop("exception", "")).splitlines())
    told = [f"{key}={_quoted(value)}" for key, value in sorted(fields.items())]
    return " ".join([f"{timestamp} [{level}] {printable(message)} [{logger}]", *told]) + trace


def _quoted(value: object) -> str:
    plain = isinstance(value, str) and value.isprintable() and _PARTING.isdisjoint(value)
    return str(value) if plain else repr(value)


_RENDERERS: Mapping[LogForm, Callable[[str, dict[str, object]], str]] = {
    LogForm.JSON: _json,
    LogForm.CONSOLE: _console,
}
