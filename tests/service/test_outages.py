"""A broker or store out of reach is told as UNAVAILABLE with a time to try again, and passes by itself."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from pathlib import Path

import grpc
from cogreel.v1.queue_pb2 import RequestState
from grpc_health.v1 import health_pb2

from files import ObjectStore, ObjectStoreSettings
from host.engines import EmbeddedS3
from jobs.streams import ensure_streams
from jobs.subjects import REQ
from service.server import ServerSettings, serving
from tests.brokers import NatsServers
from tests.deployment import Deployment, eventually
from tests.errors import refused


async def test_calls_fail_as_unavailable_while_the_broker_is_silent_and_work_again_after(
    own_nats: NatsServers, store: ObjectStore
) -> None:
    async with Deployment(own_nats.settings(), store) as deployment:
        caller = await deployment.caller(await deployment.service())
        submitted = await caller.submit()
        with own_nats.silent():
            error = await refused(caller.status(submitted.request_id))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_UNAVAILABLE")
        assert error.retry_after_s is not None
        assert error.retry_after_s > 0

        async def answers() -> bool:
            try:
                return (await caller.status(submitted.request_id)).status.position == 0
            except grpc.aio.AioRpcError:
                return False

        await eventually(answers, bool)


async def test_a_killed_broker_loses_nothing_and_everything_goes_on(own_nats: NatsServers, store: ObjectStore) -> None:
    async with Deployment(own_nats.settings(), store) as deployment:
        caller = await deployment.caller(await deployment.service())
        await deployment.worker(step_s=0.05)
        running = (await caller.submit(steps=50)).request_id
        queued = [(await caller.submit(str(index))).request_id for index in range(5)]
        await caller.reaches(running, RequestState.REQUEST_STATE_RUNNING)
        stream = caller.watch(running)
        events = [await anext(stream) for _ in range(5)]
        await own_nats.kill()
        submitted_during = await caller.submit("during the outage", idempotency_key=secrets.token_hex(8))
        for request_id in [running, *queued, submitted_during.request_id]:
            assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
        events += [event async for event in stream]
        steps = [e.progress.step for e in events if e.progress.total == 50]
        assert steps == list(range(51))
        assert (await caller.status(running)).status.attempt == 1


async def test_health_of_the_queue_follows_the_broker(own_nats: NatsServers, store: ObjectStore) -> None:
    async with Deployment(own_nats.settings(), store) as deployment:
        port = await deployment.service()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )

            async def status() -> int:
                answer = await check(health_pb2.HealthCheckRequest(service="cogreel.v1.QueueService"))
                return int(answer.status)

            await eventually(status, lambda seen: seen == health_pb2.HealthCheckResponse.SERVING)
            with own_nats.silent():
                await eventually(status, lambda seen: seen == health_pb2.HealthCheckResponse.NOT_SERVING)
            await eventually(status, lambda seen: seen == health_pb2.HealthCheckResponse.SERVING)


async def test_a_store_that_is_away_when_the_video_is_done_is_waited_for(own_nats: NatsServers, tmp_path: Path) -> None:
    async with EmbeddedS3(tmp_path / "own") as s3:
        store = ObjectStore(
            ObjectStoreSettings(
                endpoint=s3.endpoint,
                access_key=s3.access_key,
                secret_key=s3.secret_key,
                bucket="videos",
                secure=False,
            )
        )
        await store.ensure_bucket()
        async with Deployment(own_nats.settings(), store) as deployment:
            caller = await deployment.caller(await deployment.service())
            await deployment.worker()
            assert s3.pid is not None
            os.kill(s3.pid, signal.SIGKILL)
            submitted = await caller.submit()
            assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
            answer = await caller.status(submitted.request_id, with_logs=True)
            assert answer.status.attempt == 1


async def test_a_replica_whose_stream_was_made_anew_asks_to_be_started_again(
    own_nats: NatsServers, store: ObjectStore
) -> None:
    async with Deployment(own_nats.settings(), store) as deployment:
        lost = asyncio.Event()
        settings = ServerSettings(address="127.0.0.1:0")
        cards = {deployment.endpoint: deployment.card}
        async with serving(settings, deployment.broker, store, cards, on_lost=lost.set):
            await deployment.broker.api(f"STREAM.DELETE.{REQ}", {})
            await ensure_streams(deployment.broker)
            async with asyncio.timeout(20):
                await lost.wait()
