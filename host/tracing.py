"""Sending traces to a collector, where the standard variables of OpenTelemetry ask for it.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`), or `OTEL_TRACES_EXPORTER=otlp`, turns it on; everything else of
the SDK's variables (sampler, headers, attributes) applies as documented there. Off, spans cost next to nothing and the
caller's trace context is passed on all the same. Needs the extra `otel`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import structlog
from opentelemetry import trace

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

LAST_SPANS_WITHIN_S = 2.0

_log = structlog.get_logger(__name__)


def traces_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in _ENDPOINTS))


@contextmanager
def traced(role: str, instance: str) -> Iterator[None]:
    """Send the spans of this process for the length of the block, if that is asked for; what is left goes at its end.

    `role` is the kind of process, such as `service`; `instance` tells it from its like.
    """
    if not traces_wanted(os.environ):
        yield
        return
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "grpc")
    if protocol != "grpc":
        _log.warning("traces.off", cause=f"the protocol {protocol} is not supported", remedy="use grpc, on port 4317")
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        remedy = "in the source tree: pip install -c constraints.txt ./client '.[otel]'"
        _log.warning("traces.off", cause=f"{error.name} is not installed", remedy=remedy)
        yield
        return
    own = {"service.version": version("cogreel-server"), "service.instance.id": instance}
    if "OTEL_SERVICE_NAME" not in os.environ:
        own["service.name"] = f"cogreel-{role}"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _log.info("traces.on")
    try:
        yield
    finally:
        # In a thread that may be left behind: a collector that is gone must not hold up the end.
        closing = threading.Thread(target=provider.shutdown, daemon=True)
        closing.start()
        closing.join(LAST_SPANS_WITHIN_S)
        if closing.is_alive():
            _log.warning("traces.unsent", cause=f"the collector took no spans within {LAST_SPANS_WITHIN_S:g} s")
