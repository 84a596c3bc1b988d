"""The W3C trace context that travels with a request: from a call's metadata into the record, and on to the worker.

Only `traceparent` and `tracestate`, never baggage: that is the caller's own, may hold anything, and would be kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

FIELDS = frozenset({"traceparent", "tracestate"})
MAX_TRACESTATE = 512  # characters; what W3C asks to be passed on at least

_PROPAGATOR = TraceContextTextMapPropagator()


def current_trace_context() -> dict[str, str]:
    """The context of the span that is being worked in, as a record keeps it; empty if there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    if len(carrier.get("tracestate", "")) > MAX_TRACESTATE:
        del carrier["tracestate"]
    return carrier


def context_from(carrier: Mapping[str, str]) -> Context:
    """The context to start a span in, from a record or from a call's metadata; malformed ones count as none."""
    return _PROPAGATOR.extract(carrier, Context())
