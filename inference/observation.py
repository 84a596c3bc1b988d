"""One attempt, as metrics and traces see it: a span for the attempt, and in it one for each stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from inference.metrics import WorkerMetrics
from inference.model import CancelledError, ModelIdentity, Stage
from jobs.record_pb2 import Record
from jobs.trace_context import context_from

_tracer = trace.get_tracer("cogreel.worker")


class AttemptObservation:
    """Counts and traces one attempt. Stages may be entered in any thread that runs in the attempt's context."""

    def __init__(self, record: Record, metrics: WorkerMetrics) -> None:
        self._endpoint = record.endpoint
        self._metrics = metrics
        self._steps = 0

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Measure a stage, as a child of the span that is being worked in."""
        self._steps = 0
        with (
            self._metrics.stage(self._endpoint, stage),
            _tracer.start_as_current_span(stage.value, record_exception=False, set_status_on_exception=False) as span,
        ):
            try:
                yield
            except CancelledError:
                span.set_attribute("cogreel.stopped", True)
                raise
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def step(self, stage: Stage, step: int) -> None:
        """So many steps of a stage are done."""
        if stage is Stage.DENOISE and step > self._steps:
            self._metrics.steps(self._endpoint, step - self._steps)
            self._steps = step


@contextmanager
def attempt_span(record: Record, identity: ModelIdentity, worker_name: str) -> Iterator[Span]:
    """The span of an attempt, in the trace of its submission: all attempts are children of the call that made them.

    The first one is preceded by a span for the time in the queue.
    """
    parent = context_from(record.trace_context)
    attributes: dict[str, str | int] = {
        "cogreel.request_id": record.request_id,
        "cogreel.endpoint": record.endpoint,
        "cogreel.attempt": record.attempt,
    }
    if record.attempt == 1:
        queued = _tracer.start_span(
            "queued", context=parent, attributes=attributes, start_time=record.queued_time.ToNanoseconds()
        )
        queued.end(max(record.queued_time.ToNanoseconds(), record.started_time.ToNanoseconds()))
    attributes |= {
        "cogreel.worker": worker_name,
        "cogreel.model": identity.name,
        "cogreel.model_revision": identity.revision,
        "cogreel.profile": identity.profile,
    }
    span = _tracer.start_span("attempt", context=parent, kind=SpanKind.CONSUMER, attributes=attributes)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield span


def note_outcome(outcome: str, error: str | None = None) -> None:
    """Write on the attempt's span how it ended; with what went wrong, if something did."""
    span = trace.get_current_span()
    span.set_attribute("cogreel.outcome", outcome)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error))
