"""What the queue counts, in whichever process it happens: each transition in the process that published it.

So a sum over all processes counts everything once, and nobody has to watch the streams for it. A process hands the
same object to its `Broker`, which the whole protocol goes through.
"""

from __future__ import annotations

from collections.abc import Iterable

from cogreel.v1.queue_pb2 import (
    FAILURE_REASON_LEASE_LOST,
    PRIORITY_LOW,
    PRIORITY_NORMAL,
    Failure,
    FailureReason,
    Priority,
)
from prometheus_client import CollectorRegistry, Counter, Histogram

from jobs import states
from jobs.record_pb2 import Record, State

# From an idle queue, where a start takes milliseconds, to one that is a day long.
START_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)


_PRIORITIES = {number: name.removeprefix("PRIORITY_").lower() for name, number in Priority.items()}
_REASONS = {number: name.removeprefix("FAILURE_REASON_").lower() for name, number in FailureReason.items()}


def priority_label(priority: Priority.ValueType) -> str:
    """How a priority is labelled: `normal` or `low`; by its number, if only a newer version knows its name."""
    return _PRIORITIES.get(priority, str(priority))


class QueueMetrics:
    """The counters of the queue in one process. Left out, the registry is one that nobody reads."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self._submitted = Counter(
            "cogreel_requests_submitted_total",
            "Requests that were accepted.",
            ["endpoint", "priority"],
            registry=registry,
        )
        self._finished = Counter(
            "cogreel_requests_finished_total",
            "Requests that ended: completed, failed or cancelled.",
            ["endpoint", "state"],
            registry=registry,
        )
        self._time_to_start = Histogram(
            "cogreel_time_to_start_seconds",
            "From a request's acceptance to its first attempt.",
            ["endpoint", "priority"],
            buckets=START_BUCKETS_S,
            registry=registry,
        )
        self._attempts = Counter(
            "cogreel_attempts_total",
            "Ended attempts by outcome: completed, failed, lost, cancelled or handed_back.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._failures = Counter(
            "cogreel_failures_total",
            "Failures of attempts and of requests that never had one, by reason.",
            ["endpoint", "reason"],
            registry=registry,
        )
        self._disconnects = Counter(
            "cogreel_broker_disconnects_total", "Connections to NATS that were lost.", registry=registry
        )

    def expect(self, endpoints: Iterable[str]) -> None:
        """Show the counters of these endpoints from 0 on: a rate needs a value before the first event."""
        for endpoint in endpoints:
            for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
                self._submitted.labels(endpoint, priority_label(priority))
                self._time_to_start.labels(endpoint, priority_label(priority))
            for state in states.TERMINAL:
                self._finished.labels(endpoint, states.public_name(state).lower())
            for outcome in ("completed", "failed", "lost", "cancelled", "handed_back"):
                self._attempts.labels(endpoint, outcome)
            for number, reason in _REASONS.items():
                if number:  # 0 is never sent
                    self._failures.labels(endpoint, reason)

    def disconnected(self) -> None:
        """The connection to the broker was lost."""
        self._disconnects.inc()

    def attempt_cancelled(self, endpoint: str) -> None:
        """A running attempt was cancelled: its request's record does not tell whether it ran."""
        self._attempts.labels(endpoint, "cancelled").inc()

    def transition(self, record: Record, *, first: bool) -> None:
        """A transition was published by this process; `first` is a request's acceptance."""
        endpoint = record.endpoint
        if first:
            self._submitted.labels(endpoint, priority_label(record.priority)).inc()
        if record.state == State.STATE_RUNNING and record.attempt == 1:
            waited_s = (record.started_time.ToNanoseconds() - record.queued_time.ToNanoseconds()) / 1e9
            self._time_to_start.labels(endpoint, priority_label(record.priority)).observe(max(waited_s, 0.0))
        if record.state in states.TERMINAL:
            self._finished.labels(endpoint, states.public_name(record.state).lower()).inc()
        self._attempt_ended(record)

    def _attempt_ended(self, record: Record) -> None:
        """Count the attempt that a transition ends, if it ends one."""
        endpoint = record.endpoint
        match record.state:
            case State.STATE_COMPLETED:
                self._attempts.labels(endpoint, "completed").inc()
            case State.STATE_FAILED if record.failure.attempt:
                self._attempt_failed(endpoint, record.failure)
            case State.STATE_FAILED:
                self._failures.labels(endpoint, _reason(record.failure)).inc()
            case State.STATE_RELEASED if (failure := _failure_of(record, record.attempt)) is not None:
                self._attempt_failed(endpoint, failure)
            case State.STATE_RELEASED:
                self._attempts.labels(endpoint, "handed_back").inc()
            case State.STATE_RUNNING if (failure := _failure_of(record, record.attempt - 1)) is not None:
                # What was released with a failure has been counted; what was taken over has not.
                if failure.reason == FAILURE_REASON_LEASE_LOST:
                    self._attempt_failed(endpoint, failure)

    def _attempt_failed(self, endpoint: str, failure: Failure) -> None:
        outcome = "lost" if failure.reason == FAILURE_REASON_LEASE_LOST else "failed"
        self._attempts.labels(endpoint, outcome).inc()
        self._failures.labels(endpoint, _reason(failure)).inc()


def _failure_of(record: Record, attempt: int) -> Failure | None:
    """Why an attempt failed, if it was the last to do so."""
    if record.failed_attempts and record.failed_attempts[-1].attempt == attempt:
        return record.failed_attempts[-1]
    return None


def _reason(failure: Failure) -> str:
    return _REASONS.get(failure.reason, str(failure.reason))
