"""What KEDA is told, by a caller that plays its part: whether workers are needed, and how many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from cogreel.v1.admin_pb2 import Limits
from cogreel.v1.queue_pb2 import PRIORITY_LOW, RequestState

from files import ObjectStore
from host.engines.ports import choose_ports
from jobs.keys import create_key
from jobs.pauses import pause, resume
from service import externalscaler_pb2_grpc
from service.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from tests.brokers import NatsServers
from tests.deployment import Caller, Deployment
from tests.waiting import seen


@dataclass(frozen=True)
class Keda:
    """KEDA with one ScaledObject, whose trigger has this metadata."""

    stub: externalscaler_pb2_grpc.ExternalScalerAsyncStub
    metadata: dict[str, str]

    def asking(self, **metadata: str) -> Keda:
        """The same with other metadata."""
        return Keda(self.stub, self.metadata | metadata)

    @property
    def scaled_object(self) -> ScaledObjectRef:
        return ScaledObjectRef(name="cogreel-worker", namespace="cogreel", scalerMetadata=self.metadata)

    async def active(self) -> bool:
        """Whether there is to be a worker at all."""
        return (await self.stub.IsActive(self.scaled_object)).result

    async def activity(self) -> AsyncIterator[bool]:
        """The same, pushed."""
        async for told in self.stub.StreamIsActive(self.scaled_object):
            yield told.result

    async def metric(self) -> tuple[float, float]:
        """How much there is of the metric, and how much of it is for one worker."""
        (spec,) = (await self.stub.GetMetricSpec(self.scaled_object)).metricSpecs
        question = GetMetricsRequest(scaledObjectRef=self.scaled_object, metricName=spec.metricName)
        (value,) = (await self.stub.GetMetrics(question)).metricValues
        assert value.metricName == spec.metricName
        assert value.metricValue == round(value.metricValueFloat)
        return value.metricValueFloat, spec.targetSizeFloat

    async def sees(self, value: float) -> None:
        """Wait until there is so much of the metric."""
        await seen(self.metric, lambda found: found[0] == value)

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """How every call is refused."""
        asked = GetMetricsRequest(scaledObjectRef=self.scaled_object, metricName="requests")
        calls: list[Awaitable[object]] = [
            self.stub.IsActive(self.scaled_object),
            self.stub.GetMetricSpec(self.scaled_object),
            self.stub.GetMetrics(asked),
            anext(self.activity()),
        ]
        refusals = set()
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            refusals.add((caught.value.code(), caught.value.details() or ""))
        (refusal,) = refusals
        return refusal


@asynccontextmanager
async def keda_beside(deployment: Deployment) -> AsyncIterator[tuple[Keda, int]]:
    """KEDA at a replica that serves it, and the port of the replica for callers."""
    address = f"127.0.0.1:{choose_ports(['scaler'])['scaler']}"
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(deployment.service_running(scaler_address=address))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        yield (
            Keda(externalscaler_pb2_grpc.ExternalScalerStub(channel), {"endpoint": deployment.endpoint, "target": "2"}),
            port,
        )


@pytest_asyncio.fixture
async def side_by_side(deployment: Deployment) -> AsyncIterator[tuple[Keda, Caller]]:
    """KEDA and a caller at one replica, whose endpoint is empty and has no worker."""
    async with keda_beside(deployment) as (keda, port):
        yield keda, await deployment.caller(port)


async def test_workers_are_wanted_from_the_first_request_to_the_end_of_the_last(
    deployment: Deployment, side_by_side: tuple[Keda, Caller]
) -> None:
    keda, caller = side_by_side
    assert not await keda.active()
    assert await keda.metric() == (0, 2)

    first, second = [await caller.submit(prompt, steps=40) for prompt in ("first", "second")]
    await keda.sees(2)
    assert await keda.active()

    await deployment.worker(step_s=0.02)
    await caller.reaches(first.request_id, RequestState.REQUEST_STATE_RUNNING)
    assert await keda.active()
    await keda.asking(metric="running").sees(1)
    assert await caller.ended(second.request_id) == RequestState.REQUEST_STATE_COMPLETED
    await keda.sees(0)
    assert not await keda.active()


async def test_a_cancelled_request_wakes_nobody(side_by_side: tuple[Keda, Caller]) -> None:
    keda, caller = side_by_side
    kept, given_up = [await caller.submit(prompt) for prompt in ("kept", "given up")]
    await keda.sees(2)
    await caller.cancel(given_up.request_id)
    await keda.sees(1)
    await caller.cancel(kept.request_id)
    await keda.sees(0)
    assert not await keda.active()


async def test_activity_is_pushed_as_it_changes(side_by_side: tuple[Keda, Caller]) -> None:
    keda, caller = side_by_side
    told = keda.activity()
    async with asyncio.timeout(20):
        assert await anext(told) is False
        request_id = (await caller.submit()).request_id
        assert await anext(told) is True
        await caller.cancel(request_id)
        assert await anext(told) is False


async def test_requests_above_a_tenants_running_limit_ask_for_no_worker(
    deployment: Deployment, side_by_side: tuple[Keda, Caller]
) -> None:
    keda, caller = side_by_side
    await create_key(deployment.broker, caller.tenant, limits=Limits(running=1))

    async def held() -> bool:
        return (await caller.submit("again")).status.held

    await seen(held, bool)
    await seen(keda.asking(metric="held").metric, lambda found: found[0] >= 1)
    queued, _ = await keda.asking(metric="queued").metric()
    assert (await keda.metric())[0] == queued


async def test_both_priorities_and_all_named_endpoints_count_together(deployment: Deployment) -> None:
    pictures, videos = deployment.serve_files()
    async with keda_beside(deployment) as (keda, port):
        caller = await deployment.caller(port)
        await caller.submit("normal")
        await caller.submit("low", priority=PRIORITY_LOW)
        await keda.sees(2)
        await keda.asking(endpoint=f"{videos}, {deployment.endpoint},{deployment.endpoint}").sees(2)
        await keda.asking(endpoint=pictures).sees(0)


async def test_the_age_of_the_oldest_can_be_scaled_on(side_by_side: tuple[Keda, Caller]) -> None:
    keda, caller = side_by_side
    by_age = keda.asking(metric="oldest-age", target="0.5")
    assert await by_age.metric() == (0, 0.5)
    await caller.submit()
    first, _ = await seen(by_age.metric, lambda found: found[0] > 0)
    await seen(by_age.metric, lambda found: found[0] > first)


async def test_what_waits_in_a_paused_queue_asks_for_no_worker(
    deployment: Deployment, side_by_side: tuple[Keda, Caller]
) -> None:
    keda, caller = side_by_side
    await caller.submit()
    await keda.sees(1)
    await pause(deployment.broker, deployment.endpoint)
    await keda.sees(0)
    assert not await keda.active()
    await resume(deployment.broker, deployment.endpoint)
    await keda.sees(1)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"endpoint": ""}, "metadata.endpoint: must name an endpoint, or several, comma-separated"),
        ({"target": "many"}, "metadata.target: must be a number above 0 for one worker, not 'many'"),
        ({"target": "0"}, "metadata.target: must be a number above 0 for one worker, not '0'"),
        ({"target": "inf"}, "metadata.target: must be a number above 0 for one worker, not 'inf'"),
        (
            {"metric": "lag"},
            "metadata.metric: must be one of requests, queued, held, running, oldest-age, not 'lag'",
        ),
    ],
)
async def test_metadata_that_cannot_be_read_is_refused_with_its_name_and_the_rule(
    side_by_side: tuple[Keda, Caller], metadata: dict[str, str], said: str
) -> None:
    keda, _ = side_by_side
    assert await keda.asking(**metadata).refusal() == (grpc.StatusCode.INVALID_ARGUMENT, said)


async def test_an_unknown_endpoint_is_refused_with_those_that_there_are(
    deployment: Deployment, side_by_side: tuple[Keda, Caller]
) -> None:
    keda, _ = side_by_side
    code, said = await keda.asking(endpoint="fal-ai/other").refusal()
    assert code == grpc.StatusCode.NOT_FOUND
    assert said == f"metadata.endpoint: no endpoint 'fal-ai/other'; served: {deployment.endpoint}"


async def test_a_metric_of_another_trigger_is_refused(side_by_side: tuple[Keda, Caller]) -> None:
    keda, _ = side_by_side
    question = GetMetricsRequest(scaledObjectRef=keda.scaled_object, metricName="held")
    with pytest.raises(grpc.aio.AioRpcError, match="metricName: must be 'requests'"):
        await keda.stub.GetMetrics(question)


async def test_a_replica_that_does_not_see_the_queue_says_so_instead_of_letting_workers_go(
    own_nats: NatsServers, store: ObjectStore
) -> None:
    async with Deployment(own_nats.settings(), store) as deployment, keda_beside(deployment) as (keda, _):
        assert not await keda.active()

        async def code() -> grpc.StatusCode:
            try:
                await keda.active()
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        with own_nats.silent():
            assert await seen(code, lambda told: told != grpc.StatusCode.OK) == grpc.StatusCode.UNAVAILABLE
        await seen(code, lambda told: told == grpc.StatusCode.OK)


async def test_the_callers_port_serves_no_scaler(deployment: Deployment) -> None:
    async with (
        keda_beside(deployment) as (keda, port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Keda(externalscaler_pb2_grpc.ExternalScalerStub(channel), keda.metadata).active()
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
