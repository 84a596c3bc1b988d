"""What Prometheus would see of a service and its workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import PRIORITY_LOW, RequestState, WatchStatusRequest
from google.protobuf.duration_pb2 import Duration
from prometheus_client import CollectorRegistry

from inference.model import Clip, Generation, InputError, Progress
from inference.simulated import SimulatedModel
from tests.deployment import Caller, Deployment, eventually

GONE = "00000000-0000-4000-8000-000000000000"


@dataclass
class Observed:
    """A deployment and what it counts: the service and its workers share a registry where they may."""

    deployment: Deployment
    caller: Caller
    service: CollectorRegistry
    worker: CollectorRegistry

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series of a name that have these labels, in both registries."""
        return sum(
            sample.value
            for registry in (self.service, self.worker)
            for family in registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def becomes(self, expected: float, name: str, **labels: str) -> None:
        """Wait until a value is as expected."""

        async def seen() -> float:
            return self.value(name, **labels)

        await eventually(seen, lambda value: value == expected)


@pytest_asyncio.fixture
async def observed(deployment: Deployment) -> AsyncIterator[Observed]:
    registry = CollectorRegistry()
    async with deployment.service_running(registry=registry) as port:
        caller = await deployment.caller(port)
        yield Observed(deployment, caller, registry, CollectorRegistry())


async def test_the_queue_is_counted_by_endpoint_priority_and_state(observed: Observed) -> None:
    endpoint = observed.deployment.endpoint
    assert observed.value("cogreel_queue_depth", endpoint=endpoint) == 0
    first = await observed.caller.submit()
    await observed.caller.submit()
    await observed.caller.submit(priority=PRIORITY_LOW)
    here = {"endpoint": endpoint, "state": "queued"}
    assert observed.value("cogreel_queue_depth", priority="normal", **here) == 2
    assert observed.value("cogreel_queue_depth", priority="low", **here) == 1
    older = observed.value("cogreel_queue_oldest_age_seconds", endpoint=endpoint, priority="normal")
    newer = observed.value("cogreel_queue_oldest_age_seconds", endpoint=endpoint, priority="low")
    assert older > newer > 0
    assert observed.value("cogreel_requests_submitted_total", endpoint=endpoint, priority="normal") == 2
    await observed.deployment.worker(step_s=0.2)
    await observed.caller.reaches(first.request_id, RequestState.REQUEST_STATE_RUNNING)
    await observed.becomes(1, "cogreel_queue_depth", endpoint=endpoint, state="running")
    assert observed.value("cogreel_queue_depth", priority="normal", **here) == 1


async def test_a_replica_that_starts_later_counts_the_same_queue_and_no_history(observed: Observed) -> None:
    endpoint = observed.deployment.endpoint
    await observed.deployment.worker(registry=observed.worker)
    ended = await observed.caller.submit()
    await observed.caller.ended(ended.request_id)
    await observed.deployment.dead_worker()
    registry = CollectorRegistry()
    async with observed.deployment.service_running(registry=registry):
        later = Observed(observed.deployment, observed.caller, registry, CollectorRegistry())
        assert later.value("cogreel_queue_depth", endpoint=endpoint) == 0
        assert later.value("cogreel_requests_finished_total", endpoint=endpoint) == 0
        assert later.value("cogreel_event_lag_seconds_count") == 0
    assert observed.value("cogreel_requests_finished_total", endpoint=endpoint, state="completed") == 1


async def test_an_attempt_shows_its_stages_steps_and_device(observed: Observed) -> None:
    endpoint = observed.deployment.endpoint
    await observed.deployment.worker(step_s=0.02, registry=observed.worker)
    submitted = await observed.caller.submit(steps=5)
    await observed.caller.ended(submitted.request_id)
    # The caller hears of the end before the worker has counted it.
    await observed.becomes(1, "cogreel_attempts_total", endpoint=endpoint, outcome="completed")
    for stage in ("prepare", "denoise", "decode", "encode", "upload"):
        assert observed.value("cogreel_stage_seconds_count", endpoint=endpoint, stage=stage) == 1
    assert 0.1 <= observed.value("cogreel_stage_seconds_sum", endpoint=endpoint, stage="denoise") < 5
    assert observed.value("cogreel_denoising_steps_total", endpoint=endpoint) == 5
    assert observed.value("cogreel_device_busy_seconds_total") >= 0.1
    assert observed.value("cogreel_time_to_start_seconds_count", endpoint=endpoint, priority="normal") == 1
    assert observed.value("cogreel_requests_finished_total", endpoint=endpoint, state="completed") == 1
    assert observed.value("cogreel_event_lag_seconds_count", stream="LOG") >= 5
    assert observed.value("cogreel_event_lag_seconds_count", stream="REQ") == 3
    assert observed.value("cogreel_event_lag_seconds_sum") < 5


async def test_cancelled_and_timed_out_requests_are_told_apart(observed: Observed) -> None:
    endpoint = observed.deployment.endpoint
    queued = await observed.caller.submit()
    await observed.caller.cancel(queued.request_id)
    assert observed.value("cogreel_requests_finished_total", endpoint=endpoint, state="cancelled") == 1
    assert observed.value("cogreel_attempts_total", endpoint=endpoint) == 0
    late = await observed.caller.submit(start_timeout=Duration(seconds=1))
    await observed.caller.ended(late.request_id)
    assert observed.value("cogreel_failures_total", endpoint=endpoint, reason="start_timeout") == 1
    assert observed.value("cogreel_attempts_total", endpoint=endpoint) == 0
    await observed.deployment.worker(step_s=0.2)
    running = await observed.caller.submit(steps=50)
    await observed.caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)
    await observed.caller.cancel(running.request_id)
    assert observed.value("cogreel_attempts_total", endpoint=endpoint, outcome="cancelled") == 1


class Picky(SimulatedModel):
    """Refuses every prompt."""

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        progress.check()
        raise InputError("prompt", f"not {generation.prompt}")


class Faulty(SimulatedModel):
    """Has a fault of its own."""

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        progress.check()
        raise RuntimeError(f"a fault with {generation.prompt}")


@pytest.mark.parametrize(
    ("model", "reason", "attempts"), [(Picky(), "invalid_input", 1), (Faulty(), "internal", 2)], ids=["input", "fault"]
)
async def test_failed_attempts_are_counted_by_reason(
    observed: Observed, model: SimulatedModel, reason: str, attempts: int
) -> None:
    endpoint = observed.deployment.endpoint
    await observed.deployment.worker(model=model, registry=observed.worker)
    submitted = await observed.caller.submit(max_attempts=2)
    await observed.caller.ended(submitted.request_id)
    await observed.becomes(attempts, "cogreel_attempts_total", endpoint=endpoint, outcome="failed")
    assert observed.value("cogreel_failures_total", endpoint=endpoint, reason=reason) == attempts
    assert observed.value("cogreel_failures_total", endpoint=endpoint) == attempts
    assert observed.value("cogreel_requests_finished_total", endpoint=endpoint, state="failed") == 1


async def test_a_drained_attempt_is_handed_back_and_no_failure(observed: Observed) -> None:
    endpoint = observed.deployment.endpoint
    worker = await observed.deployment.worker(step_s=0.1, grace_s=0.0, registry=observed.worker)
    submitted = await observed.caller.submit(steps=50)
    await observed.caller.reaches(submitted.request_id, RequestState.REQUEST_STATE_RUNNING)
    worker.drain()
    await observed.becomes(1, "cogreel_attempts_total", endpoint=endpoint, outcome="handed_back")
    await observed.becomes(1, "cogreel_queue_depth", endpoint=endpoint, state="queued")
    assert observed.value("cogreel_failures_total", endpoint=endpoint) == 0


async def test_calls_are_counted_by_method_and_code(observed: Observed) -> None:
    submitted = await observed.caller.submit()
    with pytest.raises(grpc.aio.AioRpcError):
        await observed.caller.result(GONE)
    calls = "cogreel_grpc_calls_total"
    await observed.becomes(1, calls, method="QueueService/Submit", code="OK")
    await observed.becomes(1, calls, method="QueueService/GetResult", code="NOT_FOUND")
    assert observed.value("cogreel_grpc_call_seconds_count", method="QueueService/Submit") == 1
    stranger = Caller(observed.caller.stub, "nobody", "no key", observed.caller.endpoint)
    with pytest.raises(grpc.aio.AioRpcError):
        await stranger.submit()
    await observed.becomes(1, calls, method="QueueService/Submit", code="UNAUTHENTICATED")
    request = WatchStatusRequest(request_id=submitted.request_id)
    watching = observed.caller.stub.WatchStatus(request, metadata=observed.caller.metadata)
    await watching.read()
    await observed.becomes(1, "cogreel_watchers")
    watching.cancel()
    await observed.becomes(0, "cogreel_watchers")
    await observed.becomes(1, calls, method="QueueService/WatchStatus", code="CANCELLED")


async def test_an_expired_deadline_is_told_from_a_caller_who_left(observed: Observed) -> None:
    submitted = await observed.caller.submit()
    request = WatchStatusRequest(request_id=submitted.request_id)
    stream = observed.caller.stub.WatchStatus(request, metadata=observed.caller.metadata, timeout=0.3)
    assert await stream.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await observed.becomes(1, "cogreel_grpc_calls_total", method="QueueService/WatchStatus", code="DEADLINE_EXCEEDED")


async def test_a_service_shows_whether_its_engines_answer(observed: Observed) -> None:
    await observed.becomes(1, "cogreel_store_up")
    assert observed.value("cogreel_broker_up") == 1
    assert observed.value("cogreel_view_caught_up") == 1
    assert observed.value("cogreel_queue_full") == 0
