"""What Prometheus gets: counted from the ledger's events by one process, however many workers there are.

Counts begin with the process, as Prometheus expects it; gauges tell of what was before, too.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE, Event, Standing
from restore_worker.errors import UnknownRestoreError
from restore_worker.ledger import Ledger
from restore_worker.states import FINAL_RESTORE_STATES, SETTLED_RESOURCE_STATES, ResourceState, RestoreState

_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)
_BYTES = tuple(float(1 << power) for power in range(20, 43, 3))  # 1 MiB to 4 TiB
_QUEUES = (QUEUE, TRANSFER_QUEUE, RECONCILE_QUEUE)


@dataclass(slots=True)
class QueueLook:
    """A queue: how many messages wait, and seconds since the oldest was sent; None if that is not known."""

    waiting: int
    oldest: float | None


@dataclass(slots=True)
class _Followed:
    """A restore whose events are counted. seen: the last of them; moved: bytes of which resources are counted."""

    state: RestoreState
    seen: str = "0-0"
    types: dict[int, str] = field(default_factory=dict)
    began: dict[int, datetime] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    creating: datetime | None = None
    moved: set[int] = field(default_factory=set)


class RestoreMetrics(Collector):
    """All metrics of the restores of one Redis, brought up to date whenever they are asked for.

    look: returns how a queue is.
    """

    def __init__(self, ledger: Ledger, look: Callable[[str], QueueLook]) -> None:
        self._ledger = ledger
        self._look = look
        self._began = ledger.now()
        self._followed: dict[str, _Followed] = {}
        self._restores = Counter("restore_worker_restores_ended", "Restores that ended.", ["state"], registry=None)
        self._resources = Counter(
            "restore_worker_resources_ended", "Resources that ended.", ["type", "outcome"], registry=None
        )
        self._repairs = Counter(
            "restore_worker_repairs", "Messages that the reconciler sent again.", ["what"], registry=None
        )
        self._retries = Counter(
            "restore_worker_retries", "Attempts at resources after the first.", ["type"], registry=None
        )
        self._restore_seconds = Histogram(
            "restore_worker_restore_seconds",
            "From submission to completion.",
            buckets=_SECONDS,
            registry=None,
        )
        self._resource_seconds = Histogram(
            "restore_worker_resource_seconds",
            "From when a worker took a resource up to its end.",
            ["type"],
            buckets=_SECONDS,
            registry=None,
        )
        self._stack_seconds = Histogram(
            "restore_worker_stack_seconds", "Time that Heat took for a stack.", buckets=_SECONDS, registry=None
        )
        self._bytes = Histogram(
            "restore_worker_transfer_bytes",
            "Bytes read from the bank for a resource.",
            ["type"],
            buckets=_BYTES,
            registry=None,
        )

        # Prometheus sees an increase only of what was there before.
        for state in FINAL_RESTORE_STATES:
            self._restores.labels(state.value)
        for what in ("restore", "resource"):
            self._repairs.labels(what)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: Redis need not be there yet when this is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        standings = self._ledger.standings()
        self._catch_up(standings)
        for each in (
            *(self._restores, self._resources, self._repairs, self._retries),
            *(self._restore_seconds, self._resource_seconds, self._stack_seconds, self._bytes),
        ):
            yield from each.collect()
        yield from self._gauges(standings)

    def _gauges(self, standings: Iterable[Standing]) -> Iterator[Metric]:
        states = GaugeMetricFamily("restore_worker_restores", "Restores that are remembered.", labels=["state"])
        tally = Tally(each.state for each in standings)
        for state in RestoreState:
            states.add_metric([state.value], tally[state])
        yield states
        success = GaugeMetricFamily(
            "restore_worker_last_success_timestamp_seconds", "When a plan was last restored.", labels=["plan"]
        )
        last: dict[str, float] = {}
        for each in standings:
            if each.state is RestoreState.COMPLETE:
                last[each.plan] = max(last.get(each.plan, 0.0), each.updated.timestamp())
        for plan, moment in sorted(last.items()):
            success.add_metric([plan], moment)
        yield success
        waiting = GaugeMetricFamily(
            "restore_worker_queue_messages", "Messages that no worker has taken yet.", labels=["queue"]
        )
        age = GaugeMetricFamily(
            "restore_worker_queue_oldest_seconds", "Age of the message that has waited longest.", labels=["queue"]
        )
        for queue in _QUEUES:
            seen = self._look(queue)
            waiting.add_metric([queue], seen.waiting)
            age.add_metric([queue], seen.oldest or 0.0)
        yield from (waiting, age)
        leases = sum(len(each.running) for each in self._followed.values())
        yield GaugeMetricFamily("restore_worker_leases", "Resources that workers hold.", value=leases)
        told = len(self._ledger.news())
        yield GaugeMetricFamily("restore_worker_news", "News that receivers have not heard yet.", value=told)
        if (silent := self._ledger.unreconciled_seconds()) is not None:
            text = "Time since the reconciler last ran."
            yield GaugeMetricFamily("restore_worker_reconciler_silent_seconds", text, value=silent)

    def _catch_up(self, standings: Iterable[Standing]) -> None:
        """Count what has happened since the last time."""
        there = {each.id: each for each in standings}
        for restore_id in self._followed.keys() - there.keys():
            del self._followed[restore_id]
        for each in there.values():
            known = self._followed.get(each.id)
            if known is None:
                if each.state in FINAL_RESTORE_STATES and each.updated < self._began:
                    continue
                known = self._followed[each.id] = _Followed(each.state)
            elif known.state in FINAL_RESTORE_STATES and known.state is each.state:
                continue
            try:
                self._follow(each, known)
            except UnknownRestoreError:
                # It has just expired.
                del self._followed[each.id]

    def _follow(self, standing: Standing, known: _Followed) -> None:
        if not known.types:
            known.types = {each.node.index: each.node.type for each in self._ledger.resources(standing.id)}
        for event in self._ledger.events(standing.id, known.seen):
            known.seen = event.id
            counts = event.time >= self._began
            if event.index is None:
                self._of_restore(standing, known, event, counts=counts)
            else:
                self._of_resource(known, event, event.index, counts=counts)
        # Its record was read before: what came since is there the next time.
        known.state = standing.state

    def _of_restore(self, standing: Standing, known: _Followed, event: Event, *, counts: bool) -> None:
        if event.name == "resent" and counts:
            self._repairs.labels("restore").inc()
        if event.name not in tuple(RestoreState):
            return
        state = RestoreState(event.name)
        known.running.clear()
        began, known.creating = known.creating, event.time if state is RestoreState.CREATING else None
        if not counts:
            return
        if state in FINAL_RESTORE_STATES:
            self._restores.labels(state.value).inc()
            self._transfers(standing.id, known)
        if began and state in {RestoreState.COMPLETE, RestoreState.FAILED}:
            self._stack_seconds.observe((event.time - began).total_seconds())
        if state is RestoreState.COMPLETE:
            self._restore_seconds.observe((event.time - standing.created).total_seconds())

    def _of_resource(self, known: _Followed, event: Event, index: int, *, counts: bool) -> None:
        kind = known.types[index]
        if event.name == ResourceState.RUNNING:
            known.began.setdefault(index, event.time)
            known.running.add(index)
            if counts and int(event.details["attempt"]) > 1:
                self._retries.labels(kind).inc()
        elif event.name == "resent" and counts:
            self._repairs.labels("resource").inc()
        elif event.name == ResourceState.WAITING:
            known.running.discard(index)
        elif event.name in tuple(SETTLED_RESOURCE_STATES):
            known.running.discard(index)
            began = known.began.pop(index, None)
            if counts:
                self._resources.labels(kind, event.name).inc()
            if counts and began:
                self._resource_seconds.labels(kind).observe((event.time - began).total_seconds())

    def _transfers(self, restore_id: str, known: _Followed) -> None:
        for each in self._ledger.resources(restore_id):
            if each.bytes is not None and each.node.index not in known.moved:
                known.moved.add(each.node.index)
                self._bytes.labels(each.node.type).observe(each.bytes)
