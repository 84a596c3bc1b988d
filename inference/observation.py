"""One attempt, as metrics and traces see it: a span for the attempt, and in it one for each stage, with their times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from inference.metrics import WorkerMetrics
from inference.model import CancelledError, ModelIdentity, Stage
from jobs.record_pb2 import Record
from jobs.trace_context import context_from

_tracer = trace.get_tracer("cogreel.worker")


@dataclass(slots=True)
class _Observed:
    """A stage so far: the seconds worked in it, and when that last was, in nanoseconds since 1970."""

    span: Span
    seconds: float = 0.0
    worked_at: int | None = None


class AttemptObservation:
    """Measures, counts and traces one attempt. Stages may be entered in any thread that runs in the attempt's context.

    A context manager for the length of the attempt. A stage that is entered several times is one, from the first entry
    to the last exit; its time is what was spent in it.
    """

    def __init__(self, record: Record, metrics: WorkerMetrics) -> None:
        self._endpoint = record.endpoint
        self._metrics = metrics
        self._stages: dict[Stage, _Observed] = {}
        self._steps = 0

    @property
    def seconds(self) -> dict[Stage, float]:
        """What each stage took so far."""
        return {stage: observed.seconds for stage, observed in self._stages.items()}

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Measure work in a stage, as a child of the span that is being worked in."""
        if stage not in self._stages:
            self._stages[stage] = _Observed(_tracer.start_span(stage.value))
        observed, began = self._stages[stage], time.monotonic()
        try:
            with trace.use_span(observed.span, record_exception=False, set_status_on_exception=False):
                yield
        except Exception as error:
            if isinstance(error, CancelledError):
                observed.span.set_attribute("cogreel.stopped", True)
            else:
                observed.span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            observed.seconds += time.monotonic() - began
            observed.worked_at = time.time_ns()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The attempt is over, and so are its stages; their times count if it made a video."""
        for stage, observed in list(self._stages.items()):
            observed.span.end(observed.worked_at)
            if kind is None:
                self._metrics.stage_took(self._endpoint, stage, observed.seconds)

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
