"""What is kept, for how long, and what is removed."""

from __future__ import annotations

import asyncio

import grpc
from cogreel.v1.queue_pb2 import ListRequestsRequest, RequestState
from google.protobuf.duration_pb2 import Duration

from files import request_prefix, video_key
from jobs.broker import Broker
from jobs.subjects import LOG, REQ, RequestKey, log_subject, request_subject
from jobs.view import LiveView
from service.sweeper import Sweeper, SweeperSettings
from tests.deployment import Caller, Deployment, eventually


async def code_of_status(caller: Caller, request_id: str) -> grpc.StatusCode:
    try:
        await caller.status(request_id)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_a_request_is_erased_with_its_video_and_its_log_after_its_retention(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service(retention_s=1))
    other = await deployment.caller(await deployment.service(retention_s=1), tenant=caller.tenant)
    await deployment.worker()
    done = (await caller.submit()).request_id
    kept = (await caller.submit(object_lifetime=Duration(seconds=3600))).request_id
    for request_id in (done, kept):
        assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
    for replica in (caller, other):
        await eventually(lambda r=replica: code_of_status(r, done), lambda code: code == grpc.StatusCode.NOT_FOUND)  # type: ignore[misc]
    key = RequestKey(caller.tenant, done)
    assert await deployment.store.list_keys(request_prefix(caller.tenant, done)) == []
    assert await deployment.broker.last(REQ, f"{request_subject(key)}.>") is None
    assert await deployment.broker.last(LOG, log_subject(key)) is None
    assert await code_of_status(caller, kept) == grpc.StatusCode.OK
    assert len(await deployment.store.list_keys(request_prefix(caller.tenant, kept))) == 1

    async def listed(replica: Caller) -> list[str]:
        answer = await replica.stub.ListRequests(ListRequestsRequest(), metadata=replica.metadata)
        return [status.request_id for status in answer.requests]

    for replica in (caller, other):
        await eventually(lambda r=replica: listed(r), lambda ids: ids == [kept])  # type: ignore[misc]


async def test_a_request_that_has_not_ended_is_never_erased(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service(retention_s=1))
    queued = (await caller.submit(object_lifetime=Duration(seconds=60))).request_id
    ended = (await caller.submit()).request_id
    await caller.cancel(ended)
    await eventually(lambda: code_of_status(caller, ended), lambda code: code == grpc.StatusCode.NOT_FOUND)
    assert (await caller.status(queued)).status.position == 0


async def test_only_videos_that_no_record_needs_are_orphans(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker()
    done = (await caller.submit()).request_id
    await caller.ended(done)
    [result] = await deployment.store.list_keys("videos/")
    superseded = video_key(caller.tenant, done, 2, f"{done}.mp4")
    unknown = video_key("nobody", "00000000-0000-4000-8000-000000000000", 1, "x.mp4")
    for key in (superseded, unknown):
        await deployment.store.put_bytes(key, b"left behind", content_type="video/mp4")
    await deployment.store.put_bytes("videos/what is this", b"not ours", content_type="text/plain")
    async with Broker(deployment.settings) as broker, LiveView(broker) as view:
        sweeper = Sweeper(SweeperSettings(orphan_age_s=0.0), broker, view, deployment.store)
        removed = 0
        async with asyncio.timeout(20):
            while removed < 2:  # the store keeps times in whole seconds
                removed += await sweeper.sweep_orphans()
        assert await deployment.store.list_keys("videos/") == [result, "videos/what is this"]


async def test_a_bucket_of_another_queue_is_left_alone(deployment: Deployment) -> None:
    foreign = video_key("nobody", "00000000-0000-4000-8000-000000000000", 1, "1.mp4")
    await deployment.store.put_bytes(foreign, b"of another queue", content_type="video/mp4")
    await deployment.store.put_bytes("queue", b"1234567890", content_type="text/plain")
    async with Broker(deployment.settings) as broker, LiveView(broker) as view:
        sweeper = Sweeper(SweeperSettings(orphan_age_s=-10.0), broker, view, deployment.store)
        assert await sweeper.sweep_orphans() == 0
    assert await deployment.store.list_keys("videos/") == [foreign]


async def test_a_request_submitted_anew_after_its_erasure_is_a_new_one(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service(retention_s=1))
    await deployment.worker()
    first = await caller.submit("one", idempotency_key="again")
    await caller.ended(first.request_id)
    await eventually(lambda: code_of_status(caller, first.request_id), lambda code: code == grpc.StatusCode.NOT_FOUND)
    second = await caller.submit("another", idempotency_key="again", object_lifetime=Duration(seconds=3600))
    assert (second.request_id, second.existing) == (first.request_id, False)
    assert await caller.ended(second.request_id) == RequestState.REQUEST_STATE_COMPLETED
    assert (await caller.result(second.request_id)).video.prompt == "another"
