"""A restore that has ended, as a trace of OpenTelemetry: a span a phase, a resource, and a resource of its stack.

It is made of what the ledger noted, when all is over: so it is one trace, and whole, however many workers there
were and whatever became of them. Where it goes OpenTelemetry's own variables say: OTEL_EXPORTER_OTLP_ENDPOINT ...
(https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from restore_worker import __version__
from restore_worker.errors import NotificationError, printable
from restore_worker.report import Report, ResourceTimes
from restore_worker.states import ResourceState, RestoreState

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_BUILT_WITH = "restore-worker[otel]"


def lacking() -> str | None:
    """Return what must be installed before a trace can be made, None if it is."""
    try:
        there = find_spec("opentelemetry.sdk.trace") and find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        there = None
    return None if there else _BUILT_WITH


def export(report: Report, key: str) -> None:
    """Send the trace of a restore that has ended; NotificationError unless it is taken.

    key: the same one makes the same trace again, so that what is sent twice is there once.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Ids(IdGenerator):
        """Generates the same ids for the same key."""

        _random = random.Random(key)  # noqa: S311 - no secret

        def generate_span_id(self) -> int:
            return self._random.getrandbits(64)

        def generate_trace_id(self) -> int:
            return self._random.getrandbits(128)

    made = InMemorySpanExporter()
    # What the environment says of the service goes before ours.
    resource = Resource.create({"service.name": "restore-worker"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(made))
    _trace(provider.get_tracer("restore_worker", __version__), report)
    # All in one request: what a collector refuses it refuses whole.
    if OTLPSpanExporter().export(made.get_finished_spans()) is not SpanExportResult.SUCCESS:
        raise NotificationError("the collector that OTEL_EXPORTER_OTLP_ENDPOINT names does not take it")


def _trace(tracer: Tracer, report: Report) -> None:
    """Make the spans of a restore that has ended."""
    ends = [_end(each.began, each.seconds) for each in report.phases]
    whole = _span(
        tracer,
        f"restore {report.plan or report.checkpoint}",
        None,
        (report.submitted, max(ends, default=report.submitted)),
        {
            "restore.id": report.id,
            "restore.checkpoint": report.checkpoint,
            "restore.cloud": report.cloud,
            "restore.state": report.state.value,
        },
        report.reason if report.state is RestoreState.FAILED else None,
    )
    phases = [
        (phase, _span(tracer, phase.state.value, whole, (phase.began, end), {}))
        for phase, end in zip(report.phases, ends, strict=True)
    ]

    def within(state: RestoreState, began: datetime) -> Span:
        """Return the span of the last phase of its kind that had begun by then."""
        found = [span for phase, span in phases if phase.state is state and phase.began <= began]
        return found[-1] if found else whole

    for each in report.resources:
        if each.began is None:
            continue
        _span(
            tracer,
            f"{each.type} {each.name or each.id}",
            within(RestoreState.RESTORING, each.began),
            (each.began, _end(each.began, each.seconds)),
            _told(each),
            "" if each.state is ResourceState.FAILED else None,
        )
    for built in report.stack:
        if built.began is None:
            continue
        _span(
            tracer,
            f"Heat {built.type} {built.title}",
            within(RestoreState.CREATING, built.began),
            (built.began, _end(built.began, built.seconds)),
            {"stack.resource": built.name, "stack.status": built.status},
            "" if built.status.endswith("_FAILED") else None,
        )


def _told(resource: ResourceTimes) -> dict[str, str | int]:
    return {
        "resource.id": resource.id,
        "resource.type": resource.type,
        "resource.state": resource.state.value,
        "resource.attempts": resource.attempts,
        "resource.worker": resource.worker,
        "resource.bytes": resource.bytes or 0,
    }


def _span(
    tracer: Tracer,
    name: str,
    parent: Span | None,
    times: tuple[datetime, datetime],
    attributes: Mapping[str, str | int],
    failed: str | None = None,
) -> Span:
    """Make a span from one time to another. failed: why, None if it is not."""
    from opentelemetry.context import Context
    from opentelemetry.trace import StatusCode, set_span_in_context

    began, ended = (int(each.timestamp() * 1e9) for each in times)
    context = set_span_in_context(parent) if parent else Context()
    span = tracer.start_span(printable(name), context, attributes=attributes, start_time=began)
    if failed is not None:
        span.set_status(StatusCode.ERROR, failed)
    span.end(ended)
    return span


def _end(began: datetime, seconds: float | None) -> datetime:
    """Return when it ended; what has not, as when its resource was skipped, is not longer than nothing."""
    return began + timedelta(seconds=seconds or 0.0)
