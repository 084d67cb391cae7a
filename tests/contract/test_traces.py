"""A restore that has ended is a trace, sent to a real HTTP server and read as OpenTelemetry's protocol says."""

from __future__ import annotations

import pytest
import redis
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from restore_worker import settings, traces
from restore_worker.errors import NotificationError
from restore_worker.ledger import Ledger
from restore_worker.ledger_reader import NEWS
from restore_worker.notification import tell_all
from restore_worker.report import report
from restore_worker.states import ResourceState, RestoreState
from tests.support.receiver import receiver
from tests.support.restores import do, go_on, new_restore

ERROR = Status.STATUS_CODE_ERROR


def spans(body):
    """Return the spans of a request and what is said of where they come from."""
    [of_service] = ExportTraceServiceRequest.FromString(body).resource_spans
    told = {each.key: each.value.string_value for each in of_service.resource.attributes}
    return [span for scope in of_service.scope_spans for span in scope.spans], told


def attributes(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        yield found


@pytest.fixture
def ledger(client):
    return Ledger(client)


@pytest.fixture
def collector(monkeypatch):
    with receiver() as heard:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", heard.url)
        yield heard


def failed(ledger):
    """Record a restore of two, of which the second has failed; its id."""
    new = new_restore([(), ()])
    ledger.record(new, force=True)
    go_on(ledger, new.id)
    do(ledger, new.id, 0)
    do(ledger, new.id, 1, ResourceState.FAILED, reason="told to")
    assert ledger.move(new.id, RestoreState.RESTORING, RestoreState.ASSEMBLING)
    assert ledger.move(new.id, RestoreState.ASSEMBLING, RestoreState.FAILED, "1 of 2 failed")
    return new.id


def test_phases_and_resources_are_spans_below_that_of_the_restore(ledger, collector):
    restore_id = failed(ledger)
    traces.export(report(ledger, restore_id), "key")
    [(headers, body)] = collector.posts
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == "application/x-protobuf"
    found, told = spans(body)
    assert told["service.name"] == "restore-worker"
    by_name = {span.name: span for span in found}
    whole = by_name["restore nightly"]
    assert not whole.parent_span_id
    assert attributes(whole)["restore.id"] == restore_id
    assert (whole.status.code, whole.status.message) == (ERROR, "1 of 2 failed")
    assert len({span.trace_id for span in found}) == 1
    assert len({span.span_id for span in found}) == len(found) == 7
    for name in ("pending", "checking", "restoring", "assembling"):
        assert by_name[name].parent_span_id == whole.span_id
    for name, code in (("Type::0 näme 0", 0), ("Type::1 näme 1", ERROR)):
        span = by_name[name]
        assert span.parent_span_id == by_name["restoring"].span_id
        assert span.status.code == code
        assert attributes(span)["resource.attempts"] == 1
        assert attributes(span)["resource.worker"]
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in found)
    inner = [span for span in found if span is not whole]
    assert whole.start_time_unix_nano <= min(span.start_time_unix_nano for span in inner) + 10**6
    assert whole.end_time_unix_nano == max(span.end_time_unix_nano for span in inner)


def test_what_is_sent_twice_is_the_same_trace(ledger, collector):
    told = report(ledger, failed(ledger))
    for key in ("key", "key", "another"):
        traces.export(told, key)
    first, second, other = (spans(body)[0] for _, body in collector.posts)
    assert first == second
    assert {span.trace_id for span in first}.isdisjoint(span.trace_id for span in other)


def test_the_environment_names_the_service(ledger, collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "recovery")
    traces.export(report(ledger, failed(ledger)), "key")
    assert spans(collector.posts[0][1])[1]["service.name"] == "recovery"


def test_a_collector_that_refuses_is_told_again_and_of_what_is_deleted_later_nothing(ledger, client, collector):
    collector.answers.append(400)
    restore_id = failed(ledger)
    current = settings.load({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "HOME": "/"})
    tell_all(ledger, current)
    assert [each.receiver for each in ledger.news()] == ["collector"]
    for member in client.zrange(NEWS, 0, -1):
        client.zadd(NEWS, {member: 0})
    tell_all(ledger, current)
    assert len(collector.posts) == 2
    assert spans(collector.posts[0][1]) == spans(collector.posts[1][1])
    assert ledger.move(restore_id, RestoreState.FAILED, RestoreState.DESTROYING)
    assert ledger.move(restore_id, RestoreState.DESTROYING, RestoreState.DISCARDING)
    assert ledger.move(restore_id, RestoreState.DISCARDING, RestoreState.DESTROYED)
    tell_all(ledger, current)
    assert len(collector.posts) == 2
    assert ledger.news() == []


def test_a_collector_that_is_not_there_is_an_error_that_names_the_variable(ledger, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with pytest.raises(NotificationError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        traces.export(report(ledger, failed(ledger)), "key")
