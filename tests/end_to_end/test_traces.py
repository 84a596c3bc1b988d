"""One trace from the caller through the queue to the stages, as a collector of traces sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest
from cogreel import AsyncCogReel
from cogreel.v1.queue_pb2 import RequestState
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from host.tracing import traces_wanted
from tests.deployment import eventually
from tests.end_to_end.collector import Collector, Seen
from tests.end_to_end.tree import Tree

STAGES = ["prepare", "denoise", "decode", "encode", "upload"]


async def submit_in_a_span(tree: Tree, collector: Collector, *, steps: int) -> tuple[str, bytes]:
    """Submit by the client library from inside a span of the caller's own; the request's id and the trace's."""
    provider = TracerProvider(resource=Resource.create({"service.name": "caller"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=collector.endpoint)))
    async with AsyncCogReel(tree.ready["grpc"], tree.ready["api_key"]) as client:
        with provider.get_tracer("test").start_as_current_span("caller") as span:
            trace_id = span.get_span_context().trace_id.to_bytes(16, "big")
            submitted = await client.submit(
                prompt="butterflies", num_inference_steps=steps, use_rife=False, video_size=(64, 64)
            )
        await asyncio.to_thread(provider.shutdown)
    return submitted.request_id, trace_id


async def spans_of(collector: Collector, trace_id: bytes, *, last: str, count: int = 1) -> list[Seen]:
    """The spans of a trace, once it has so many of a name."""

    async def seen() -> list[Seen]:
        return [found for found in collector.spans if found.span.trace_id == trace_id]

    return await eventually(seen, lambda spans: sum(s.span.name == last for s in spans) >= count)


def only(spans: list[Seen], name: str) -> Seen:
    (found,) = [seen for seen in spans if seen.span.name == name]
    return found


async def test_one_trace_leads_from_the_caller_to_the_stages(watched_tree: Tree, collector: Collector) -> None:
    request_id, trace_id = await submit_in_a_span(watched_tree, collector, steps=3)
    caller = await watched_tree.caller()
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
    spans = await spans_of(collector, trace_id, last="attempt")
    root, submit, queued = only(spans, "caller"), only(spans, "QueueService/Submit"), only(spans, "queued")
    attempt, stages = only(spans, "attempt"), [only(spans, stage) for stage in STAGES]
    assert {seen.span.name for seen in spans} == {"caller", "QueueService/Submit", "queued", "attempt", *STAGES}
    services = {seen.span.name: seen.service for seen in (root, submit, attempt, stages[0])}
    assert list(services.values()) == ["caller", "cogreel-service", "cogreel-worker", "cogreel-worker"]
    assert not root.span.parent_span_id
    assert submit.span.parent_span_id == root.span.span_id
    assert queued.span.parent_span_id == attempt.span.parent_span_id == submit.span.span_id
    assert {stage.span.parent_span_id for stage in stages} == {attempt.span.span_id}
    starts = [stage.span.start_time_unix_nano for stage in stages]
    assert starts == sorted(starts)
    assert queued.span.end_time_unix_nano <= attempt.span.start_time_unix_nano <= starts[0]
    assert attempt.attributes == {
        "cogreel.request_id": request_id,
        "cogreel.endpoint": caller.endpoint,
        "cogreel.attempt": 1,
        "cogreel.worker": (await caller.status(request_id)).status.worker,
        "cogreel.model": "simulated",
        "cogreel.model_revision": attempt.attributes["cogreel.model_revision"],
        "cogreel.profile": "exact",
        "cogreel.outcome": "completed",
    }
    log = [json.loads(line) for line in (watched_tree.data_dir / "logs/worker-0.log").read_text().splitlines()]
    mine = [line for line in log if line.get("request_id") == request_id]
    assert [(line["event"], line["attempt"], line["trace_id"]) for line in mine] == [
        ("attempt.started", 1, trace_id.hex()),
        ("attempt.completed", 1, trace_id.hex()),
    ]


async def test_an_attempt_that_takes_over_is_in_the_same_trace(watched_tree: Tree, collector: Collector) -> None:
    request_id, trace_id = await submit_in_a_span(watched_tree, collector, steps=50)
    caller = await watched_tree.caller()
    await caller.reaches(request_id, RequestState.REQUEST_STATE_RUNNING)
    os.kill(watched_tree.pid("worker-0"), signal.SIGKILL)
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
    spans = await spans_of(collector, trace_id, last="attempt")
    attempt = only(spans, "attempt")
    assert attempt.attributes["cogreel.attempt"] == 2
    assert attempt.span.parent_span_id == only(spans, "QueueService/Submit").span.span_id


async def test_a_refused_call_is_a_span_with_its_reason(watched_tree: Tree, collector: Collector) -> None:
    ready = watched_tree.ready
    async with AsyncCogReel(ready["grpc"], ready["api_key"]) as client:
        with pytest.raises(Exception, match="There is no request"):
            await client.result("00000000-0000-4000-8000-000000000000")

    async def refused() -> list[Seen]:
        return collector.named("QueueService/GetResult")

    (span,) = await eventually(refused, bool)
    assert span.attributes["cogreel.reason"] == "REQUEST_NOT_FOUND"
    assert span.attributes["rpc.grpc.status_code"] == 5


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_traces_are_sent_where_the_standard_variables_ask_for_them(environment: dict[str, str], wanted: bool) -> None:
    assert traces_wanted(environment) == wanted
