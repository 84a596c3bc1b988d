"""What one replica of the service shows to Prometheus, besides what the queue counts (`jobs.metrics`).

Numbers that are there anyway are read when somebody asks; what happens often costs one or two increments.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from files import ObjectStore, StoreUnavailableError
from jobs.metrics import priority_label
from jobs.overview import queue_counts
from jobs.record_pb2 import LogEntry, Record, State
from jobs.subjects import LOG, REQ
from jobs.tasks import end_task
from jobs.view import LiveView

PROBE_STORE_EVERY_S = 10.0
CALL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)

_log = structlog.get_logger(__name__)


class ServiceMetrics:
    """The metrics of one replica. Left out, the registry is one that nobody reads."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._calls = Counter(
            "cogreel_grpc_calls_total", "gRPC calls that ended.", ["method", "code"], registry=self.registry
        )
        self._call_seconds = Histogram(
            "cogreel_grpc_call_seconds",
            "How long gRPC calls took; a watch lasts as long as its request.",
            ["method"],
            buckets=CALL_BUCKETS_S,
            registry=self.registry,
        )
        self._lag = Histogram(
            "cogreel_event_lag_seconds",
            "From an event's own time until this replica had it, by the clocks of both.",
            ["stream"],
            buckets=LAG_BUCKETS_S,
            registry=self.registry,
        )
        self._req_lag, self._log_lag = self._lag.labels(REQ), self._lag.labels(LOG)
        self._webhook_tries = Counter(
            "cogreel_webhook_tries_total",
            "POSTs of webhooks: delivered, failed and to be tried again, or given_up.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("delivered", "failed", "given_up"):
            self._webhook_tries.labels(outcome)
        self._store_up = Gauge(
            "cogreel_store_up",
            "Whether the object store answered when it was last asked, and has the bucket.",
            registry=self.registry,
        )

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """A call of the contract ended; `method` is like `QueueService/Submit`."""
        self._calls.labels(method, code).inc()
        self._call_seconds.labels(method).observe(seconds)

    def webhook_tried(self, outcome: str) -> None:
        """A webhook was sent or could not be; `outcome` is delivered, failed or given_up."""
        self._webhook_tries.labels(outcome).inc()

    @asynccontextmanager
    async def observing(self, view: LiveView, store: ObjectStore, endpoints: Iterable[str]) -> AsyncIterator[None]:
        """Show what a view sees, and whether a store answers, while the block lasts. Enter it before the view."""
        collector = _ViewCollector(view, endpoints)

        def on_state(record: Record) -> None:
            if view.caught_up and (moment_ns := _moment_ns(record)):
                self._req_lag.observe(max(0.0, time.time() - moment_ns / 1e9))

        def on_entry(entry: LogEntry) -> None:
            self._log_lag.observe(max(0.0, time.time() - entry.time.seconds - entry.time.nanos / 1e9))

        view.on_state.append(on_state)
        view.on_entry.append(on_entry)
        self.registry.register(collector)
        probing = asyncio.create_task(self._probe(store), name="store probe")
        try:
            yield
        finally:
            await end_task(probing)
            self.registry.unregister(collector)

    async def _probe(self, store: ObjectStore) -> None:
        told = ""
        while True:
            cause = ""
            try:
                await store.check()
            except StoreUnavailableError:
                cause = "out of reach"
            except Exception as error:  # noqa: BLE001 - no bucket yet, or refused credentials: both may be put right
                cause = str(error)
            self._store_up.set(not cause)
            if cause != told:
                told = cause
                _log.warning("store.down", cause=cause) if cause else _log.info("store.up")
            await asyncio.sleep(PROBE_STORE_EVERY_S)


def _moment_ns(record: Record) -> int:
    """When a record's transition happened; 0 where the record does not tell."""
    match record.state:
        case State.STATE_QUEUED if not record.attempt:
            return record.queued_time.ToNanoseconds()
        case State.STATE_RUNNING:
            return record.started_time.ToNanoseconds()
        case State.STATE_COMPLETED | State.STATE_FAILED | State.STATE_CANCELLED:
            return record.finished_time.ToNanoseconds()
    return 0


class _ViewCollector(Collector):
    """Reads a view when it is asked; runs in the thread of whoever asks."""

    def __init__(self, view: LiveView, endpoints: Iterable[str]) -> None:
        self._view = view
        self._endpoints = tuple(endpoints)

    def describe(self) -> Iterable[Metric]:
        """Nothing is collected for it at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, as of now."""
        view = self._view
        yield _gauge("cogreel_broker_up", "Whether the connection to NATS is up.", float(view.broker.connected))
        yield _gauge("cogreel_view_caught_up", "Whether this replica had seen everything.", float(view.caught_up))
        yield _gauge("cogreel_queue_full", "Whether submissions are refused for lack of space.", float(view.full))
        yield _gauge("cogreel_watchers", "Callers that watch a request at this replica.", view.watchers)
        late = "Watchers that fell behind by more than their buffer, and read the streams again."
        yield CounterMetricFamily("cogreel_late_watchers_total", late, value=view.late_watchers)
        depth = GaugeMetricFamily(
            "cogreel_queue_depth",
            "Requests that have not ended, by state: queued, held or running.",
            labels=["endpoint", "priority", "state"],
        )
        age = GaugeMetricFamily(
            "cogreel_queue_oldest_age_seconds",
            "For how long the oldest queued request has been there; 0 if none is queued.",
            labels=["endpoint", "priority"],
        )
        for counted in queue_counts(view.projection, self._endpoints):
            queue = [counted.endpoint, priority_label(counted.priority)]
            for state in ("queued", "held", "running"):
                depth.add_metric([*queue, state], getattr(counted, state))
            age.add_metric(queue, counted.oldest.ToNanoseconds() / 1e9)
        yield depth
        yield age


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)
