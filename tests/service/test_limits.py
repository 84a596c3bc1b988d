"""What a tenant's limits do to its submissions, and what they leave alone."""

from __future__ import annotations

import asyncio

import grpc
from cogreel.v1.admin_pb2 import Limits
from cogreel.v1.queue_pb2 import ListRequestsRequest, RequestState

from files import ObjectStore
from jobs.keys import create_key, revoke_key
from service.queue_servicer import QueueServiceSettings
from service.server import ServerSettings, serving
from tests.brokers import NatsServers
from tests.deployment import Caller, Deployment, eventually
from tests.errors import refused


async def limited(deployment: Deployment, port: int, **limits: int) -> Caller:
    """A caller of a new tenant, whose key has limits."""
    caller = await deployment.caller(port)
    await create_key(deployment.broker, caller.tenant, limits=Limits(**limits))
    return await deployment.caller(port, tenant=caller.tenant)


async def test_a_tenant_above_its_running_limit_waits_in_a_line_of_its_own(deployment: Deployment) -> None:
    port = await deployment.service()
    greedy = await limited(deployment, port, running=1)
    modest = await deployment.caller(port)
    many = [await greedy.submit(f"greedy {number}") for number in range(4)]
    one = await modest.submit("modest")
    assert [answer.status.held for answer in many] == [False, True, True, True]
    assert [answer.status.position for answer in many] == [0, 0, 1, 2]
    assert {answer.status.state for answer in many} == {RequestState.REQUEST_STATE_QUEUED}
    assert (one.status.held, one.status.position) == (False, 1)


async def test_held_requests_are_queued_in_their_order_as_slots_fall_free(deployment: Deployment) -> None:
    port = await deployment.service()
    greedy = await limited(deployment, port, running=1)
    modest = await deployment.caller(port)
    many = [(await greedy.submit(f"greedy {number}")).request_id for number in range(3)]
    one = (await modest.submit("modest")).request_id
    await deployment.worker()
    for request_id in (*many, one):
        caller = modest if request_id == one else greedy
        assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
    started = {
        request_id: (await caller.status(request_id)).status.started_time.ToNanoseconds()
        for caller, ids in ((greedy, many), (modest, [one]))
        for request_id in ids
    }
    assert sorted(started, key=lambda request_id: started[request_id]) == [many[0], one, many[1], many[2]]


async def test_a_watcher_sees_a_request_held_and_then_queued(deployment: Deployment) -> None:
    port = await deployment.service()
    greedy = await limited(deployment, port, running=1)
    await greedy.submit("first")
    held = await greedy.submit("second")
    watching = greedy.watch(held.request_id)
    first = await anext(watching)
    assert (first.state.held, first.state.position) == (True, 0)
    await deployment.worker()
    states = [(first.state.held, first.state.state)]
    states += [(event.state.held, event.state.state) async for event in watching if event.HasField("state")]
    assert states == [
        (True, RequestState.REQUEST_STATE_QUEUED),
        (False, RequestState.REQUEST_STATE_QUEUED),
        (False, RequestState.REQUEST_STATE_RUNNING),
        (False, RequestState.REQUEST_STATE_COMPLETED),
    ]


async def test_a_cancelled_request_frees_its_slot_and_a_held_one_can_be_cancelled(deployment: Deployment) -> None:
    greedy = await limited(deployment, await deployment.service(), running=1)
    running, cancelled, promoted = [(await greedy.submit(f"{number}")).request_id for number in range(3)]
    await greedy.cancel(cancelled)
    assert await greedy.ended(cancelled) == RequestState.REQUEST_STATE_CANCELLED
    await greedy.cancel(running)
    await eventually(lambda: greedy.status(promoted), lambda answer: not answer.status.held)


async def test_nobody_stays_held_when_the_limit_goes(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    key, _ = await create_key(deployment.broker, caller.tenant, limits=Limits(running=1))
    greedy = await deployment.caller(port, tenant=caller.tenant)
    await greedy.submit("first")
    held = await greedy.submit("second")
    assert held.status.held
    await revoke_key(deployment.broker, key.key_id)
    await eventually(lambda: greedy.status(held.request_id), lambda answer: not answer.status.held)


async def test_a_limit_that_goes_is_noticed_while_others_are_busy(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    key, _ = await create_key(deployment.broker, caller.tenant, limits=Limits(running=1))
    greedy = await deployment.caller(port, tenant=caller.tenant)
    busy = await limited(deployment, port, running=1)
    await greedy.submit("first")
    held = await greedy.submit("second")
    for number in range(2):
        await busy.submit(f"{number}")

    async def others_come_and_go() -> None:
        while True:
            await busy.cancel((await busy.submit("one more")).request_id)

    coming = asyncio.create_task(others_come_and_go())
    try:
        await revoke_key(deployment.broker, key.key_id)
        await eventually(lambda: greedy.status(held.request_id), lambda answer: not answer.status.held)
    finally:
        coming.cancel()


async def test_two_replicas_queue_each_held_request_once(deployment: Deployment) -> None:
    ports = [await deployment.service() for _ in range(2)]
    greedy = await limited(deployment, ports[0], running=2)
    ids = [(await greedy.submit(f"{number}")).request_id for number in range(12)]
    await deployment.worker()
    for request_id in ids:
        assert await greedy.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
        events = [event async for event in greedy.watch(request_id) if event.HasField("state")]
        assert sum(not e.state.held and e.state.state == RequestState.REQUEST_STATE_QUEUED for e in events) == 1


async def test_too_many_waiting_requests_are_refused_with_the_limits_name(deployment: Deployment) -> None:
    caller = await limited(deployment, await deployment.service(), queued=2)
    first = await caller.submit("0", idempotency_key="first")
    await caller.submit("1")
    error = await refused(caller.submit("2"))
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED")
    assert error.metadata == {"limit": "queued", "allowed": "2"}
    assert error.retry_after_s is not None
    again = await caller.submit("0", idempotency_key="first")
    assert (again.request_id, again.existing) == (first.request_id, True)
    await caller.cancel(first.request_id)
    await caller.submit("2")


async def test_a_burst_never_gets_more_in_than_the_limit(deployment: Deployment) -> None:
    caller = await limited(deployment, await deployment.service(), queued=5)
    outcomes = await asyncio.gather(*(caller.submit(f"{n}") for n in range(20)), return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 5


async def test_requests_a_minute_are_counted_by_every_replica(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await limited(deployment, port, requests_per_minute=3)
    for number in range(3):
        await caller.cancel((await caller.submit(f"{number}")).request_id)
    elsewhere = await deployment.caller(await deployment.service(), tenant=caller.tenant)
    for replica in (caller, elsewhere):
        error = await refused(replica.submit("one more"))
        assert error.metadata["limit"] == "requests_per_minute"
        assert error.retry_after_s is not None
        assert 30 < error.retry_after_s <= 60


async def test_stored_videos_count_until_they_are_erased(deployment: Deployment) -> None:
    caller = await limited(deployment, await deployment.service(), stored_bytes=1)
    await deployment.worker()
    submitted = await caller.submit("the only one")
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
    error = await refused(caller.submit("one too many"))
    assert error.metadata == {"limit": "stored_bytes", "allowed": "1"}


async def test_another_tenants_limits_do_not_matter(deployment: Deployment) -> None:
    port = await deployment.service()
    limited_caller = await limited(deployment, port, queued=1)
    free = await deployment.caller(port)
    await limited_caller.submit("0")
    await refused(limited_caller.submit("1"))
    assert not (await free.submit("0")).status.held


async def test_the_queue_as_a_whole_is_bounded(own_nats: NatsServers, store: ObjectStore) -> None:
    async with Deployment(own_nats.settings(), store) as deployment:
        settings = ServerSettings(address="127.0.0.1:0", max_waiting=2, queue=QueueServiceSettings())
        async with serving(settings, deployment.broker, store, {deployment.endpoint: deployment.card}) as port:
            caller = await deployment.caller(port)
            for number in range(2):
                await caller.submit(f"{number}")
            error = await refused(caller.submit("2"))
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")


async def test_a_held_request_keeps_its_place_in_lists(deployment: Deployment) -> None:
    port = await deployment.service()
    greedy = await limited(deployment, port, running=1)
    ids = [(await greedy.submit(f"{number}")).request_id for number in range(3)]
    await greedy.cancel(ids[0])
    await eventually(lambda: greedy.status(ids[1]), lambda answer: not answer.status.held)
    listed = await greedy.stub.ListRequests(ListRequestsRequest(), metadata=greedy.metadata)
    assert [status.request_id for status in listed.requests] == ids[::-1]
