"""One call, as metrics, traces and logs see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.trace import SpanKind, Status, StatusCode

from jobs.trace_context import FIELDS, context_from
from service.metrics import ServiceMetrics

PACKAGE = "/cogreel.v1."

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("cogreel.service")

Context = grpc.aio.ServicerContext[Message, Message]


@dataclass
class Call:
    """A call under way: who learns something of it writes it here. `method` is like `QueueService/Submit`."""

    method: str
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str | None = None
    """Of the error that it is answered with."""
    message: str | None = None
    """What that error says."""
    tenant: str | None = None


@contextmanager
def observed(method: str, context: Context, metrics: ServiceMetrics) -> Iterator[Call]:
    """Count, trace and log a call for the length of the block; a block that is left early was the caller's wish."""
    call = Call(method.removeprefix(PACKAGE))
    carrier = {str(name): str(value) for name, value in context.invocation_metadata() or () if name in FIELDS}
    began = time.monotonic()
    span = _tracer.start_span(
        call.method,
        context=context_from(carrier),
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.method": call.method},
    )
    # Never detached: each call is a task with a context of its own, and a stream that is left may end in another.
    attach(trace.set_span_in_context(span))
    try:
        yield call
    except (asyncio.CancelledError, GeneratorExit):
        left_s = context.time_remaining()
        expired = left_s is not None and left_s <= 0
        call.code = grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
        raise
    finally:
        seconds = time.monotonic() - began
        metrics.call_ended(call.method, call.code.name, seconds)
        if span.is_recording():
            span.set_attribute("rpc.grpc.status_code", int(call.code.value[0]))
            if call.reason is not None:
                span.set_attribute("cogreel.reason", call.reason)
                span.set_status(Status(StatusCode.ERROR, call.reason))
        span.end()
        _tell(call, seconds)


def _tell(call: Call, seconds: float) -> None:
    """The line of the access log: of refused calls always, of others at the level debug."""
    method, code, seconds = call.method.rpartition("/")[2], call.code.name, round(seconds, 4)
    if call.reason is None:
        _log.debug("call.served", method=method, code=code, tenant=call.tenant, seconds=seconds)
    else:
        _log.info(
            "call.refused",
            method=method,
            code=code,
            reason=call.reason,
            message=call.message,
            tenant=call.tenant,
            seconds=seconds,
        )
