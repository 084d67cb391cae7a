"""Who wants to hear of restores is told, by a real server that fails at first and by a program, and once if all goes well."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import pytest
import redis
from standardwebhooks import Webhook

from restore_worker import settings
from restore_worker.errors import RestoreError
from restore_worker.ledger import Ledger
from restore_worker.ledger_reader import NEWS
from restore_worker.notification import tell_all
from restore_worker.states import RestoreState
from tests.support.receiver import receiver
from tests.support.restores import DIAMOND, go_on, new_restore

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        yield found


@pytest.fixture
def ledger(client):
    return Ledger(client)


def failed(ledger, reason="image 'ubuntu' is damaged", **choices):
    """Record a restore that fails; its id."""
    new = new_restore(DIAMOND, **choices)
    ledger.record(new, force=True)
    assert ledger.move(new.id, RestoreState.PENDING, RestoreState.CHECKING)
    assert ledger.move(new.id, RestoreState.CHECKING, RestoreState.FAILED, reason)
    return new.id


def told_by(**variables):
    return settings.load({name: str(value) for name, value in variables.items()})


def due(client):
    """Have all that waits for another try be told now."""
    for member in client.zrange(NEWS, 0, -1):
        client.zadd(NEWS, {member: 0})


def test_a_webhook_hears_what_became_of_a_restore_signed_as_the_standard_says(ledger):
    restore_id = failed(ledger, ttl=60)
    with receiver() as heard:
        tell_all(ledger, told_by(RESTORE_WEBHOOK_URL=heard.url, RESTORE_WEBHOOK_SECRET=SECRET))
        tell_all(ledger, told_by(RESTORE_WEBHOOK_URL=heard.url, RESTORE_WEBHOOK_SECRET=SECRET))
    [(headers, body)] = heard.posts
    message = Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert message["type"] == "restore.failed"
    when = datetime.fromisoformat(message["timestamp"])
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60
    data = message["data"]
    assert (data["id"], data["state"], data["drill"], data["resources"]) == (restore_id, "failed", True, 5)
    assert data["reason"] == "image 'ubuntu' is damaged"
    assert "is failed: image 'ubuntu' is damaged" in data["text"]
    assert ledger.news() == []


@pytest.mark.parametrize("answer", [500, 404, 302, None])
def test_one_that_fails_is_told_again_with_the_same_id(ledger, client, answer, caplog):
    failed(ledger)
    with receiver(answer, 503) as heard:
        current = told_by(RESTORE_WEBHOOK_URL=heard.url)
        tell_all(ledger, current)
        tell_all(ledger, current)
        assert len(heard.posts) == 1, "not at once"
        [news] = ledger.news()
        assert news.receiver == "webhook"
        due(client)
        tell_all(ledger, current)
        due(client)
        tell_all(ledger, current)
        tell_all(ledger, current)
    assert len(heard.posts) == 3
    assert len({headers["webhook-id"] for headers, _ in heard.posts}) == 1
    assert ledger.news() == []
    assert "127.0.0.1" in caplog.text
    assert "s3cr3t-path" not in caplog.text


def test_who_is_away_for_a_day_is_given_up_with_a_warning(ledger, client, caplog):
    restore_id = failed(ledger)
    client.zrem(NEWS, *client.zrange(NEWS, 0, -1))
    client.zadd(NEWS, {f"{restore_id}/failed/1700000000": 0})
    tell_all(ledger, told_by(RESTORE_WEBHOOK_URL="http://127.0.0.1:9/"))
    assert ledger.news() == []
    assert "given up" in caplog.text


def test_a_command_hears_the_same_on_its_input(ledger, tmp_path):
    restore_id = failed(ledger)
    script = tmp_path / "tell.py"
    script.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text(sys.stdin.read())\n")
    tell_all(ledger, told_by(RESTORE_NOTIFY_COMMAND=f"{sys.executable} {script} '{tmp_path}/heard it'"))
    message = json.loads((tmp_path / "heard it").read_text())
    assert (message["type"], message["data"]["id"]) == ("restore.failed", restore_id)
    assert message["id"].startswith(restore_id)
    assert ledger.news() == []


def test_of_two_receivers_only_the_one_that_failed_is_told_again(ledger, client, tmp_path):
    failed(ledger)
    with receiver() as heard:
        current = told_by(RESTORE_WEBHOOK_URL=heard.url, RESTORE_NOTIFY_COMMAND="false")
        for _ in range(3):
            due(client)
            tell_all(ledger, current)
    assert len(heard.posts) == 1
    assert [each.receiver for each in ledger.news()] == ["command"]


def test_slack_gets_a_sentence(ledger):
    restore_id = failed(ledger, reason="no flavor\x1b[31m")
    with receiver() as heard:
        tell_all(ledger, told_by(RESTORE_WEBHOOK_URL=heard.url, RESTORE_WEBHOOK_FORM="slack"))
    [(_, body)] = heard.posts
    text = json.loads(body)["text"]
    assert list(json.loads(body)) == ["text"]
    assert text.endswith(f"is failed: no flavor\\x1b[31m (restore-worker show {restore_id})")


def test_where_nobody_wants_to_hear_nothing_is_kept(ledger, client):
    failed(ledger)
    gone = failed(ledger)
    client.delete(*client.keys(f"restore:{{{gone}}}:*"))
    tell_all(ledger, told_by())
    assert not client.exists(NEWS)


def test_two_that_tell_at_once_tell_once(ledger, client):
    failed(ledger)
    [news] = ledger.take_news(60)
    assert ledger.take_news(60) == []
    assert ledger.news() == [news]


def test_what_nobody_takes_up_is_told_once_an_epoch(ledger, client):
    new = new_restore(DIAMOND)
    ledger.record(new)
    go_on(ledger, new.id)
    for _ in range(5):
        for index in (0, 4):
            client.zadd("restores:due", {f"{new.id}/{index}": 0})
            assert ledger.look(new.id, index) is not None
    assert [each.event for each in ledger.news()] == ["stuck"]
    with receiver() as heard:
        tell_all(ledger, told_by(RESTORE_WEBHOOK_URL=heard.url))
    message = json.loads(heard.posts[0][1])
    assert message["type"] == "restore.stuck"
    assert message["data"]["state"] == "restoring"
    assert "is stuck in restoring: nobody takes it up" in message["data"]["text"]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"RESTORE_WEBHOOK_URL": "ftp://s3cr3t"}, "it is no http:// or https:// URL"),
        ({"RESTORE_WEBHOOK_SECRET": "s3cr3t"}, "it is not base64 of 24 bytes or more"),
        ({"RESTORE_WEBHOOK_FORM": "s3cr3t"}, "'json' or 'slack'"),
        ({"RESTORE_NOTIFY_COMMAND": "/no/such/program s3cr3t"}, "there is no program '/no/such/program'"),
        ({"RESTORE_NOTIFY_COMMAND": "tell 's3cr3t"}, "it is no command line"),
    ],
)
def test_unusable_settings_are_told_without_what_may_be_secret(variables, reason):
    with pytest.raises(RestoreError, match=reason) as refused:
        told_by(**variables)
    assert "s3cr3t" not in str(refused.value)
    assert next(iter(variables)) in str(refused.value)


def test_a_url_is_in_no_settings_that_are_shown():
    current = told_by(RESTORE_WEBHOOK_URL="https://hooks.example.com/s3cr3t", RESTORE_WEBHOOK_SECRET=SECRET)
    assert "s3cr3t" not in repr(current)
    assert SECRET not in repr(current)
    logging.getLogger(__name__).info("%s", current)
