"""Workers send each restore as one trace, whichever of them restored what."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from restore_worker import restore
from tests.support.processes import wait_until
from tests.support.receiver import receiver
from tests.support.sample_banks import WEBAPP


def test_what_two_workers_restored_is_one_trace_of_all_resources(redis_url, worker, monkeypatch):
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        submitted = restore.submit("latest", bank=WEBAPP, create_stack=False)
        worker(options=["--beat"], concurrency=1)
        worker(concurrency=1)
        submitted.wait(60)
        wait_until(lambda: collector.posts, "the trace is there", 30)
        [of_service] = ExportTraceServiceRequest.FromString(collector.posts[0][1]).resource_spans
    [scope] = of_service.scope_spans
    told = [{each.key: each.value.string_value for each in span.attributes} for span in scope.spans]
    assert len({span.trace_id for span in scope.spans}) == 1
    resources = {each.node.id: each.worker for each in submitted.resources}
    assert {each["resource.id"]: each["resource.worker"] for each in told if "resource.id" in each} == resources


def test_a_worker_without_the_packages_says_so_and_works(redis_url, worker, monkeypatch, tmp_path):
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with receiver() as collector:
        log = worker(options=["--beat"], env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
        wait_until(lambda: "install restore-worker[otel]" in log.output, "it says what is missing")
        submitted = restore.submit("latest", bank=WEBAPP, create_stack=False)
        assert submitted.wait(60).state == "complete"
        assert not collector.posts
