"""Carrying the caller's trace on to the service, where the caller traces: the extra `cogreel[otel]`."""

from __future__ import annotations

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # who has no traces needs no package for them
    _propagator = None
else:
    _propagator = TraceContextTextMapPropagator()

Metadata = tuple[tuple[str, str], ...]


def with_trace_context(metadata: Metadata) -> Metadata:
    """A call's metadata with the W3C context of the span that the caller is in; as it was, if there is none."""
    if _propagator is None:
        return metadata
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return (*metadata, *carrier.items())
