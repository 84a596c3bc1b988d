"""The caller's trace goes with each call, where there is one."""

from __future__ import annotations

from cogreel.trace_context import with_trace_context
from opentelemetry.sdk.trace import TracerProvider

METADATA = (("authorization", "Bearer key"),)


def test_a_call_in_a_span_carries_it_beside_the_key() -> None:
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("mine") as span:
        key, (name, value) = with_trace_context(METADATA)
    context = span.get_span_context()
    assert key == METADATA[0]
    assert (name, value) == (
        "traceparent",
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
    )


def test_a_call_outside_a_span_carries_what_it_did() -> None:
    assert with_trace_context(METADATA) == METADATA
