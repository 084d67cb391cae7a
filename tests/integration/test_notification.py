"""A worker tells a real receiver how a restore ended."""

import json

from restore_worker import restore
from tests.support.processes import wait_until
from tests.support.receiver import receiver
from tests.support.sample_banks import WEBAPP, damaged_webapp


def test_workers_tell_of_what_is_complete_and_of_what_failed(redis_url, worker, monkeypatch, tmp_path):
    with receiver(503) as heard:
        monkeypatch.setenv("RESTORE_WEBHOOK_URL", heard.url)
        good = restore.submit("latest", bank=WEBAPP, create_stack=False)
        bad = restore.submit("latest", bank=damaged_webapp(tmp_path), create_stack=False)
        log = worker(options=["--beat"])
        wait_until(lambda: len(heard.posts) >= 3, "both are told, one of them twice", 60)
        told = [json.loads(body) for _, body in heard.posts]
        by_id = {each["data"]["id"]: each for each in told}
        assert by_id[good.id]["type"] == "restore.complete"
        assert by_id[good.id]["data"]["seconds"] > 0
        assert by_id[bad.id]["type"] == "restore.failed"
        assert bad.status.reason in by_id[bad.id]["data"]["text"]
        assert "the webhook is not told that it is " in log.output
        assert "s3cr3t-path" not in log.output
