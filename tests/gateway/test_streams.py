"""Calls that last: status streams and blocking runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import httpx2
import pytest
from cogreel.v1.queue_pb2 import ListRequestsRequest, RequestStatus

from gateway.settings import GatewaySettings
from tests.deployment import Deployment, eventually, fetch
from tests.gateway.door import QUICK, Door, caller, door_of, events_of


async def requests_of(door: Door) -> Sequence[RequestStatus]:
    """All requests of the tenant."""
    asking = await door.deployment.caller(door.service_port, tenant="any", api_key=door.api_key)
    return (await asking.stub.ListRequests(ListRequestsRequest(), metadata=asking.metadata)).requests


async def test_a_stream_tells_each_change_and_ends_after_the_last(door: Door) -> None:
    request_id = await door.submitted(num_inference_steps=5)
    async with door.http.stream("GET", door.path(request_id, "/status/stream?logs=1")) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-fal-request-id"] == request_id
        await door.deployment.worker()
        events = await events_of(response)
    words = [event["status"] for event in events]
    assert words == sorted(words, key=["IN_QUEUE", "IN_PROGRESS", "COMPLETED"].index)
    assert set(words) == {"IN_QUEUE", "IN_PROGRESS", "COMPLETED"}
    steps = [e["progress"]["step"] for e in events if e.get("progress") and e["progress"]["stage"] == "denoise"]
    assert sorted(set(steps)) == [0, 1, 2, 3, 4, 5]
    told = [line["message"] for event in events for line in event.get("logs", [])]
    written = (await door.status(request_id, "?logs=true")).json()["logs"]
    assert told == [line["message"] for line in written]


async def test_a_stream_of_a_finished_request_ends_at_once(door: Door) -> None:
    request_id = await door.submitted()
    await door.cancel(request_id)
    async with door.http.stream("GET", door.path(request_id, "/status/stream")) as response:
        events = await events_of(response)
    assert events[-1]["error_type"] == "client_cancelled"
    assert events[-1]["logs"] is None


async def test_a_quiet_stream_is_kept_alive_and_its_text_is_ascii(deployment: Deployment) -> None:
    async with door_of(deployment, GatewaySettings(keep_alive_s=0.05)) as door:
        request_id = await door.submitted(prompt="Schmetterlinge über Blumen 🦋")
        async with door.http.stream("GET", door.path(request_id, "/status/stream?logs=1")) as response:
            quiet = False
            async for chunk in response.aiter_bytes():
                assert chunk.isascii()
                if chunk.startswith(b":") and not quiet:
                    quiet = True
                    await door.cancel(request_id)
        assert quiet


async def test_a_stream_that_is_left_ends_its_watch(door: Door) -> None:
    request_id = await door.submitted()
    async with door.http.stream("GET", door.path(request_id, "/status/stream")) as response:
        await anext(response.aiter_lines())

    async def watches() -> int:
        return sum(1 for task in asyncio.all_tasks() if "WatchStatus" in repr(task) or "_paced" in repr(task))

    await eventually(watches, lambda count: count == 0)


async def test_a_gateway_that_stops_breaks_streams_off_rather_than_end_them(deployment: Deployment) -> None:
    async with AsyncExitStack() as outliving:
        async with door_of(deployment) as door:
            http = await outliving.enter_async_context(caller(door.url, door.api_key))
            path = door.path(await door.submitted(), "/status/stream")
            lines = (await outliving.enter_async_context(http.stream("GET", path))).aiter_lines()
            assert (await anext(lines)).startswith("data: ")
        with pytest.raises(httpx2.RemoteProtocolError):
            async for _ in lines:
                pass


async def test_a_run_answers_with_the_output(door: Door) -> None:
    await door.deployment.worker()
    answer = await door.http.post(f"/run/{door.endpoint}", json=QUICK | {"seed": 9})
    assert answer.status_code == 200
    assert answer.json()["seed"] == 9
    assert fetch(answer.json()["video"]["url"])
    assert (await door.status(answer.headers["x-fal-request-id"])).json()["status"] == "COMPLETED"


async def test_a_run_that_is_refused_or_fails_says_so(door: Door) -> None:
    refused = await door.http.post(f"/run/{door.endpoint}", json={})
    assert refused.status_code == 422
    late = await door.http.post(f"/run/{door.endpoint}", json=QUICK, headers={"x-fal-request-timeout": "1"})
    assert (late.status_code, late.json()["error_type"]) == (504, "request_timeout")
    assert (await door.status(late.headers["x-fal-request-id"])).status_code == 200


@pytest.mark.parametrize(("more", "goes_on"), [({}, False), ({"seed": 5}, True)], ids=["unseeded", "seeded"])
async def test_a_run_that_is_left_is_cancelled_unless_a_repetition_would_find_it(
    door: Door, more: dict[str, int], *, goes_on: bool
) -> None:
    running = asyncio.create_task(door.http.post(f"/run/{door.endpoint}", json=QUICK | more))

    async def states() -> list[int]:
        return [request.state for request in await requests_of(door)]

    (queued,) = await eventually(states, lambda seen: len(seen) == 1)
    running.cancel()
    await asyncio.wait({running})
    if goes_on:
        assert await door.submitted(**more)
        assert await states() == [queued]
    else:
        await eventually(states, lambda seen: seen != [queued])


async def test_a_run_that_a_stopping_gateway_leaves_names_its_request(deployment: Deployment) -> None:
    async with AsyncExitStack() as outliving:
        async with door_of(deployment) as door:
            http = await outliving.enter_async_context(caller(door.url, door.api_key))
            running = asyncio.create_task(http.post(f"/run/{door.endpoint}", json=QUICK))
            (request,) = await eventually(lambda: requests_of(door), lambda seen: len(seen) == 1)
        answer = await running
    assert answer.status_code == 500
    assert request.request_id in answer.json()["detail"]
