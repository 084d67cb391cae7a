"""`restore-worker metrics`, beside real workers."""

import signal
import socket
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from restore_worker import restore
from tests.support import processes
from tests.support.processes import Program, free_port, wait_until
from tests.support.sample_banks import WEBAPP


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        (each.name.removeprefix("restore_worker_"), *each.labels.values()): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_a_restore_by_processes_of_a_pool_is_counted_once(redis_url, worker, tmp_path):
    port = free_port()
    server = Program(processes.restore_worker("metrics", "--port", str(port)), tmp_path / "metrics.log")
    try:
        server.wait_for("/metrics")
        submitted = restore.submit("latest", bank=WEBAPP, create_stack=False)
        wait_until(lambda: scrape(port)["queue_messages", "restore"] == 1, "its first message waits")
        worker(pool="prefork", concurrency=2, options=["--beat"])
        assert submitted.wait(60).state == "complete"
        found = scrape(port)
        assert found["restores_ended_total", "complete"] == 1
        assert found["resources_ended_total", "done", "OS::Cinder::Volume"] == 5
        assert found["restore_seconds_count",] == 1
        assert found["last_success_timestamp_seconds", "webapp-nightly"] > 0
        wait_until(lambda: scrape(port)["queue_messages", "restore"] == 0, "no message waits")
        wait_until(lambda: scrape(port).get(("reconciler_silent_seconds",), 99) < 10, "beat is heard of")
    finally:
        assert server.stop(signal.SIGTERM) == 0


def test_a_port_that_is_taken_is_told(redis_url, cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cli("metrics", "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    assert "cannot be had" in ended.stderr
    assert "Traceback" not in ended.stderr
