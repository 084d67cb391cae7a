"""Who wants to hear how restores end is told: a webhook, a command, a collector of traces.

A webhook gets what the Standard Webhooks specification says (https://www.standardwebhooks.com): JSON in a POST,
with the headers ``webhook-id``, ``webhook-timestamp`` and, if there is a secret, ``webhook-signature``. A command
gets the same JSON on its standard input. All may get it twice, and know it by its id.
"""

from __future__ import annotations

import functools
import json
import logging
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from restore_worker import traces
from restore_worker.entries import News, RestoreRecord
from restore_worker.errors import NotificationError, UnknownRestoreError, printable
from restore_worker.report import report
from restore_worker.settings import Settings, WebhookForm
from restore_worker.states import RestoreState

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger

logger = logging.getLogger(__name__)

# Seconds: a receiver that takes longer holds up what else the task does; a command may have to log in somewhere.
_WEBHOOK_SECONDS, _COMMAND_SECONDS = 5.0, 30.0
# After so long the same is told again by another worker, if the one that took it is gone.
_TAKEN_SECONDS = 120.0
# The pause grows with the age of the news, between these; after a day nobody waits for it any more.
_FIRST_PAUSE, _LONGEST_PAUSE, _GIVEN_UP = 5.0, 900.0, 86400.0

# What is told after these was traced before them.
_TRACED = {f"restore.{state}" for state in (RestoreState.COMPLETE, RestoreState.FAILED, RestoreState.CANCELLED)}

Receiver = Callable[[str, dict[str, Any]], None]


def tell_all(ledger: Ledger, settings: Settings) -> None:
    """Tell every receiver what is due; who cannot be told now is told later."""
    receivers = _receivers(ledger, settings)
    for news in ledger.take_news(_TAKEN_SECONDS):
        wanted = {name: tell for name, tell in receivers.items() if news.receiver in {"", name}}
        try:
            message = _message(ledger, news) if wanted else {}
        except UnknownRestoreError:
            # It has expired, or was flushed away.
            wanted = {}
        deaf = [name for name, tell in wanted.items() if not _told(tell, name, news, message)]
        if not deaf:
            ledger.told(news)
            continue
        age = ledger.now().timestamp() - float(news.seconds)
        for name in deaf:
            if age > _GIVEN_UP:
                fields = {"fact": "news.given_up", "restore": news.restore_id}
                logger.warning("the %s is not told that it is %s: given up", name, news.event, extra=fields)
                ledger.told(news)
            else:
                ledger.tell_later(news, name, min(max(age, _FIRST_PAUSE), _LONGEST_PAUSE))


def _receivers(ledger: Ledger, settings: Settings) -> dict[str, Receiver]:
    """Return who is told, by what they are called in the ledger."""
    receivers: dict[str, Receiver] = {}
    if settings.webhook_url:
        receivers["webhook"] = functools.partial(_post, settings)
    if settings.notify_command:
        receivers["command"] = functools.partial(_run, settings.notify_command)
    if settings.otlp_endpoint and not traces.lacking():
        receivers["collector"] = functools.partial(_trace, ledger)
    return receivers


def _told(tell: Receiver, name: str, news: News, message: dict[str, Any]) -> bool:
    """Tell one receiver; False if it is to be told again."""
    try:
        tell(f"{news.restore_id}.{news.event}.{news.seconds}", message)
    except NotificationError as error:
        fields = {"fact": "news.untold", "restore": news.restore_id}
        logger.warning("the %s is not told that it is %s: %s", name, news.event, error, extra=fields)
        return False
    return True


def _message(ledger: Ledger, news: News) -> dict[str, Any]:
    record = ledger.get(news.restore_id)
    measured = report(ledger, news.restore_id)
    return {
        "type": f"restore.{news.event}",
        "timestamp": f"{datetime.fromtimestamp(float(news.seconds), UTC):%Y-%m-%dT%H:%M:%SZ}",
        "data": {
            "id": record.id,
            "state": record.state.value,
            "reason": record.reason,
            "plan": record.plan,
            "checkpoint": record.checkpoint,
            "cloud": record.cloud,
            "drill": record.ttl > 0,
            "resources": record.size,
            "failed": record.failed,
            "seconds": measured.seconds,
            "text": _sentence(record, news, measured.seconds),
        },
    }


def _sentence(record: RestoreRecord, news: News, seconds: float | None) -> str:
    """Return what a person is told."""
    what = f"{'Drill' if record.ttl else 'Restore'} of {record.plan or record.checkpoint}"
    where = f" on {record.cloud}" if record.cloud else ""
    how = {
        RestoreState.COMPLETE: f"is complete{'' if seconds is None else f' after {_duration(seconds)}'}",
        "stuck": f"is stuck in {record.state}: nobody takes it up",
    }.get(news.event, f"is {news.event}")
    why = f": {record.reason}" if record.reason and news.event != "stuck" else ""
    return printable(f"{what}{where} {how}{why} (restore-worker show {record.id})")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _post(settings: Settings, id_: str, message: dict[str, Any]) -> None:
    """Post to the webhook; NotificationError, which does not have its URL, unless it answers 2xx."""
    # A process that tells nobody needs neither.
    import urllib3
    from standardwebhooks import Webhook

    url = settings.webhook_url.get_secret_value() if settings.webhook_url else ""
    text = {"text": message["data"]["text"]} if settings.webhook_form is WebhookForm.SLACK else message
    body = json.dumps(text)
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": id_,
        # Of this attempt: receivers refuse what is old.
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if settings.webhook_secret:
        headers["webhook-signature"] = Webhook(settings.webhook_secret.get_secret_value()).sign(id_, now, body)
    try:
        answer = urllib3.request(
            "POST", url, body=body.encode(), headers=headers, timeout=_WEBHOOK_SECONDS, retries=False
        )
    except urllib3.exceptions.HTTPError as error:
        # What urllib3 says of it has the path, which may be a secret.
        raise NotificationError(f"{urlsplit(url).hostname} does not answer ({type(error).__name__})") from None
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls a success
        raise NotificationError(f"{urlsplit(url).hostname} answers {answer.status}")


def _run(command: str, id_: str, message: dict[str, Any]) -> None:
    """Run the command; NotificationError unless it ends with 0 in time."""
    words = shlex.split(command)
    try:
        subprocess.run(  # noqa: S603 - what the deployment configured
            words,
            input=json.dumps({"id": id_, **message}).encode(),
            timeout=_COMMAND_SECONDS,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        raise NotificationError(f"{words[0]} ended with {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise NotificationError(f"{words[0]} took more than {_COMMAND_SECONDS:.0f} s") from None
    except OSError as error:
        raise NotificationError(f"{words[0]} cannot be run: {error.strerror}") from None


def _trace(ledger: Ledger, id_: str, message: dict[str, Any]) -> None:
    """Send the trace of what has just ended; NotificationError unless it is taken."""
    if message["type"] in _TRACED:
        traces.export(report(ledger, message["data"]["id"]), id_)
