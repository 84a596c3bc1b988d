"""ListRequests: a tenant's own requests, newest first, filtered and paged."""

from __future__ import annotations

from cogreel.v1.queue_pb2 import ListRequestsRequest, ListRequestsResponse, RequestState
from google.protobuf.timestamp_pb2 import Timestamp

from tests.deployment import Caller, Deployment
from tests.errors import refused


async def list_page(caller: Caller, **wanted: object) -> ListRequestsResponse:
    request = ListRequestsRequest(**wanted)  # type: ignore[arg-type]
    return await caller.stub.ListRequests(request, metadata=caller.metadata)


async def listed(caller: Caller, **wanted: object) -> list[str]:
    return [status.request_id for status in (await list_page(caller, **wanted)).requests]


async def test_a_tenant_lists_its_own_requests_newest_first(deployment: Deployment) -> None:
    port = await deployment.service()
    owner, stranger = await deployment.caller(port), await deployment.caller(port)
    mine = [(await owner.submit(f"{index}")).request_id for index in range(5)]
    await stranger.submit()
    assert await listed(owner) == mine[::-1]
    page = await list_page(owner)
    assert [status.position for status in page.requests] == [4, 3, 2, 1, 0]


async def test_requests_are_filtered_by_state_endpoint_and_time(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    first, second, third = [(await caller.submit(f"{index}")) for index in range(3)]
    await caller.cancel(second.request_id)
    assert await listed(caller, states=[RequestState.REQUEST_STATE_CANCELLED]) == [second.request_id]
    assert await listed(caller, states=[RequestState.REQUEST_STATE_QUEUED]) == [third.request_id, first.request_id]
    assert await listed(caller, endpoint="fal-ai/other") == []
    assert len(await listed(caller, endpoint=caller.endpoint)) == 3
    since = second.status.queued_time
    assert await listed(caller, queued_after=since) == [third.request_id, second.request_id]
    assert await listed(caller, queued_before=since) == [first.request_id]
    assert await listed(caller, queued_after=Timestamp(seconds=4_000_000_000)) == []


async def test_pages_neither_repeat_nor_miss_while_requests_come(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    old = [(await caller.submit(f"{index}")).request_id for index in range(7)]
    seen: list[str] = []
    token = None
    while token != "":
        page = await list_page(caller, page_size=3, page_token=token)
        seen += [status.request_id for status in page.requests]
        token = page.next_page_token
        await caller.submit("another one meanwhile")
    assert seen == old[::-1]


async def test_a_page_token_of_nothing_and_a_page_size_out_of_range_are_refused(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    assert "page_token" in (await refused(list_page(caller, page_token="nonsense!"))).violations
    assert "page_size" in (await refused(list_page(caller, page_size=0))).violations
