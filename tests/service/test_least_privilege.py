"""Service, worker and operator with the credentials of their roles alone: everything works, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio
from cogreel.v1.admin_pb2 import Limits
from cogreel.v1.queue_pb2 import (
    REQUEST_STATE_CANCELLED,
    REQUEST_STATE_COMPLETED,
    REQUEST_STATE_FAILED,
    REQUEST_STATE_RUNNING,
)
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs

from files import ObjectStore
from inference.blend import BlendDoubler
from inference.simulated import SimulatedModel
from inference.worker import VideoWorker, WorkerSettings
from jobs.broker import Broker
from jobs.keys import create_key, revoke_key, rotate_key
from jobs.pauses import list_pauses, pause, resume
from jobs.registry import list_workers
from jobs.subjects import LIVE, REQ, RequestKey
from jobs.tail import StreamTail
from jobs.webhook_keys import rotate_webhook_keys
from service.erasing import delete_request
from tests.deployment import Deployment
from tests.roles import RoleNats, role_nats
from tests.service.operators import operator_of, status_code
from tests.service.webhook_calls import call_loopback, settled
from tests.waiting import until
from tests.webhook_receiver import Receiver


@pytest.fixture(autouse=True)
def nothing_is_denied() -> Iterator[None]:
    """No role is missing anything: what is denied would often be noticed late, or not at all."""
    with capture_logs() as logged:
        yield
    assert [line for line in logged if line["event"] == "broker.denied"] == []


@pytest_asyncio.fixture(scope="module")
async def guarded_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoleNats]:
    """The server of the roles."""
    async with role_nats(tmp_path_factory.mktemp("roles")) as server:
        yield server


@pytest_asyncio.fixture
async def guarded(guarded_nats: RoleNats, store: ObjectStore) -> AsyncIterator[Deployment]:
    """Services with the credentials of a service, and workers with those of a worker."""
    deployment = Deployment(guarded_nats.settings("service"), store)
    deployment.worker_settings = guarded_nats.settings("worker")
    call_loopback(deployment)
    async with deployment:
        yield deployment


async def test_a_request_runs_to_its_end_and_its_webhook_is_delivered(guarded: Deployment, receiver: Receiver) -> None:
    caller = await guarded.caller(await guarded.service())
    await guarded.worker()
    submitted = await caller.submit(webhook_url=receiver.url)
    assert await caller.ended(submitted.request_id) == REQUEST_STATE_COMPLETED
    assert (await settled(caller, submitted.request_id)).delivered
    assert (await caller.status(submitted.request_id, with_logs=True)).logs
    assert [response async for response in caller.watch(submitted.request_id)]


@pytest_asyncio.fixture
async def operator(guarded_nats: RoleNats) -> AsyncIterator[Broker]:
    """A connection as the commands of `cogreeld` have it."""
    async with Broker(guarded_nats.settings("operator")) as connected:
        yield connected


async def test_a_running_request_is_cancelled_and_its_worker_told(guarded: Deployment) -> None:
    caller = await guarded.caller(await guarded.service())
    await guarded.worker(step_s=0.05)
    request_id = (await caller.submit(steps=50)).request_id
    await caller.reaches(request_id, REQUEST_STATE_RUNNING)
    await caller.cancel(request_id)
    assert await caller.ended(request_id) == REQUEST_STATE_CANCELLED
    assert await caller.ended((await caller.submit()).request_id) == REQUEST_STATE_COMPLETED


async def test_a_request_that_nobody_starts_fails_in_time(guarded: Deployment) -> None:
    caller = await guarded.caller(await guarded.service())
    request_id = (await caller.submit(start_timeout=Duration(seconds=1))).request_id
    assert await caller.ended(request_id) == REQUEST_STATE_FAILED


async def test_a_worker_that_is_drained_hands_its_request_to_another(guarded: Deployment) -> None:
    caller = await guarded.caller(await guarded.service())
    first = await guarded.worker(step_s=0.05, grace_s=0)
    request_id = (await caller.submit(steps=40)).request_id
    await caller.reaches(request_id, REQUEST_STATE_RUNNING)
    await guarded.worker()
    first.drain()
    assert await caller.ended(request_id) == REQUEST_STATE_COMPLETED


async def test_a_worker_that_comes_first_waits_for_the_service(guarded: Deployment, guarded_nats: RoleNats) -> None:
    settings = WorkerSettings("feed", "first", (guarded.endpoint,))
    async with Broker(guarded_nats.settings("worker")) as broker:
        worker = VideoWorker(settings, broker, guarded.store, SimulatedModel(frames=9), BlendDoubler())
        running = asyncio.create_task(worker.run())
        with capture_logs() as logged:
            await until(lambda: any(line["event"] == "queue.awaited" for line in logged))
        caller = await guarded.caller(await guarded.service())
        assert await caller.ended((await caller.submit()).request_id) == REQUEST_STATE_COMPLETED
        worker.drain()
        await running


async def test_a_worker_that_waits_can_be_stopped(guarded: Deployment, guarded_nats: RoleNats) -> None:
    settings = WorkerSettings("feed", "first", ("test/nobody serves this",))
    async with Broker(guarded_nats.settings("worker")) as broker:
        worker = VideoWorker(settings, broker, guarded.store, SimulatedModel(frames=9), BlendDoubler())
        running = asyncio.create_task(worker.run())
        worker.drain()
        await asyncio.wait_for(running, 5)


async def test_held_requests_are_queued_and_counted(guarded: Deployment) -> None:
    port = await guarded.service()
    caller = await guarded.caller(port)
    await create_key(guarded.broker, caller.tenant, limits=Limits(running=1))
    greedy = await guarded.caller(port, tenant=caller.tenant)
    ids = [(await greedy.submit(f"{number}")).request_id for number in range(2)]
    await guarded.worker()
    assert [await greedy.ended(request_id) for request_id in ids] == [REQUEST_STATE_COMPLETED] * 2


async def test_operators_see_workers_and_delete_requests_through_the_service(guarded: Deployment) -> None:
    port = await guarded.service()
    caller = await guarded.caller(port)
    await guarded.worker()
    request_id = (await caller.submit()).request_id
    await caller.ended(request_id)
    async with operator_of(guarded, port) as admin:
        assert len(await admin.workers(guarded.endpoint)) == 1
        await admin.delete(caller.tenant, request_id)
        assert await status_code(caller, request_id) == grpc.StatusCode.NOT_FOUND


async def test_operators_pause_rotate_and_erase_without_the_service(guarded: Deployment, operator: Broker) -> None:
    caller = await guarded.caller(await guarded.service())
    await guarded.worker()
    await pause(operator, guarded.endpoint)
    waiting = (await caller.submit()).request_id
    assert {found.endpoint for found in await list_pauses(operator)} == {guarded.endpoint}
    await resume(operator, guarded.endpoint)
    assert await caller.ended(waiting) == REQUEST_STATE_COMPLETED
    await rotate_webhook_keys(operator)
    key, _ = await create_key(operator, "studio")
    await rotate_key(operator, key.key_id)
    await revoke_key(operator, key.key_id)
    assert len(await list_workers(operator)) == 1
    async with StreamTail(operator, REQ, f"{LIVE}req.>", lambda _: None) as tail:
        assert tail.caught_up
    erased = (await caller.submit(steps=50)).request_id
    await delete_request(operator, guarded.store, RequestKey(caller.tenant, erased))
    assert await status_code(caller, erased) == grpc.StatusCode.NOT_FOUND
