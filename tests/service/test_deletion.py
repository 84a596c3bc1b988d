"""Deleting a request: whatever its state, nothing of it is left, and nothing of any other is touched."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import grpc
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL, ListRequestsRequest, RequestState

from files import ObjectStore
from jobs.subjects import RequestKey
from tests.deployment import Caller, Deployment, eventually
from tests.errors import refused
from tests.service.operators import operator_of, status_code, traces_of, with_key


async def test_a_request_that_has_ended_is_deleted_with_its_video_and_its_log(deployment: Deployment) -> None:
    port, other_port = await deployment.service(), await deployment.service()
    caller, other = await deployment.caller(port), await deployment.caller(other_port)
    await deployment.worker()
    gone, kept = (await caller.submit()).request_id, (await caller.submit()).request_id
    for request_id in (gone, kept):
        assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
    assert len(await traces_of(deployment, RequestKey(caller.tenant, gone))) == 3
    async with operator_of(deployment, port) as operator:
        await operator.delete(caller.tenant, gone)
        assert await traces_of(deployment, RequestKey(caller.tenant, gone)) == []
        for replica in (caller, with_key(other, caller.tenant, caller.api_key)):
            assert await status_code(replica, gone) == grpc.StatusCode.NOT_FOUND

            async def pages(asked: Caller = replica) -> tuple[list[str], bool]:
                wanted = ListRequestsRequest(page_size=1)
                answer = await asked.stub.ListRequests(wanted, metadata=asked.metadata)
                return [status.request_id for status in answer.requests], bool(answer.next_page_token)

            await eventually(pages, lambda seen: seen == ([kept], False), within_s=5)
        assert len(await traces_of(deployment, RequestKey(caller.tenant, kept))) == 3
        error = await refused(operator.delete(caller.tenant, gone))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "REQUEST_NOT_FOUND")


async def test_a_running_request_is_cancelled_and_leaves_nothing_behind(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    await deployment.worker(step_s=0.05)
    running = (await caller.submit(steps=50, idempotency_key="again")).request_id
    following = (await caller.submit()).request_id
    watching = asyncio.create_task(caller.ended(running))
    await caller.reaches(running, RequestState.REQUEST_STATE_RUNNING)
    async with operator_of(deployment, port) as operator:
        await operator.delete(caller.tenant, running)
    assert await watching == RequestState.REQUEST_STATE_CANCELLED
    assert await caller.ended(following) == RequestState.REQUEST_STATE_COMPLETED, "the device was not freed"
    assert await traces_of(deployment, RequestKey(caller.tenant, running)) == []
    assert await status_code(caller, running) == grpc.StatusCode.NOT_FOUND
    again = await caller.submit("anew", idempotency_key="again")
    assert (again.request_id, again.existing) == (running, False)
    assert await caller.ended(again.request_id) == RequestState.REQUEST_STATE_COMPLETED


async def test_a_queued_request_leaves_its_place_and_never_runs(deployment: Deployment) -> None:
    port, other_port = await deployment.service(), await deployment.service()
    caller, other = await deployment.caller(port), await deployment.caller(other_port)
    other = with_key(other, caller.tenant, caller.api_key)
    first, second = (await caller.submit()).request_id, (await caller.submit()).request_id
    assert (await other.status(second)).status.position == 1
    async with operator_of(deployment, port) as operator:
        await operator.delete(caller.tenant, first.upper())  # which is the same UUID
        await eventually(lambda: other.status(second), lambda answer: answer.status.position == 0)
        assert (await operator.queues(deployment.endpoint))[PRIORITY_NORMAL].queued == 1
    await deployment.worker()
    assert await caller.ended(second) == RequestState.REQUEST_STATE_COMPLETED
    assert await traces_of(deployment, RequestKey(caller.tenant, first)) == []


async def test_a_request_of_a_worker_that_died_is_deleted_as_well(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    await deployment.dead_worker()
    request_id = (await caller.submit()).request_id
    await caller.reaches(request_id, RequestState.REQUEST_STATE_RUNNING)
    async with operator_of(deployment, port) as operator, asyncio.timeout(5):
        await operator.delete(caller.tenant, request_id)
    assert await traces_of(deployment, RequestKey(caller.tenant, request_id)) == []


async def test_only_what_the_tenant_has_can_be_deleted_as_its_own(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    request_id = (await caller.submit()).request_id
    async with operator_of(deployment, port) as operator:
        for tenant, named in (("nobody", request_id), (caller.tenant, str(uuid.uuid4()))):
            error = await refused(operator.delete(tenant, named))
            assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "REQUEST_NOT_FOUND")
            assert error.resource == ("request", named)
        error = await refused(operator.delete(caller.tenant, "nonsense"))
        assert list(error.violations) == ["request_id"]
        assert await status_code(caller, request_id) == grpc.StatusCode.OK


async def test_a_deletion_that_the_store_held_up_can_be_repeated(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    await deployment.worker()
    request_id = (await caller.submit()).request_id
    await caller.ended(request_id)
    without_store = ObjectStore(replace(deployment.store.settings, endpoint="127.0.0.1:1"))
    async with (
        Deployment(deployment.settings, without_store) as cut_off,
        operator_of(cut_off, await cut_off.service()) as operator,
    ):
        error = await refused(operator.delete(caller.tenant, request_id))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert error.retry_after_s is not None
        assert await status_code(caller, request_id) == grpc.StatusCode.OK
    async with operator_of(deployment, port) as operator:
        await operator.delete(caller.tenant, request_id)
    assert await traces_of(deployment, RequestKey(caller.tenant, request_id)) == []
