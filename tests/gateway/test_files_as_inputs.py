"""Pictures and videos named in submissions."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.deployment import Deployment
from tests.gateway.door import Door, door_of
from tests.media import picture

PIXEL = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"


@pytest_asyncio.fixture
async def door(deployment: Deployment) -> AsyncIterator[Door]:
    """A gateway before a service with all kinds of endpoints, and a worker."""
    deployment.serve_files()
    async with door_of(deployment) as running:
        await deployment.worker()
        yield running


async def test_a_data_uri_begins_a_video_and_a_result_another(door: Door) -> None:
    pictured = await door.submitted(endpoint=f"{door.endpoint}/image", image_url=PIXEL)
    await door.reaches(pictured, "COMPLETED")
    url = (await door.result(pictured)).json()["video"]["url"]
    repainted = await door.submitted(endpoint=f"{door.endpoint}/video", video_url=url, strength=0.5)
    await door.reaches(repainted, "COMPLETED")
    assert (await door.result(repainted)).status_code == 200


@pytest.mark.parametrize(
    ("endpoint", "given", "field", "kind"),
    [
        ("image", {}, "image_url", "missing"),
        ("video", {}, "video_url", "missing"),
        ("image", {"image_url": 7}, "image_url", "string_type"),
        ("image", {"image_url": "/etc/hostname"}, "image_url", "value_error"),
        ("image", {"image_url": "file:///etc/hostname"}, "image_url", "value_error"),
        ("image", {"image_url": "data:image/png;base64,AAAA"}, "image_url", "value_error"),
        ("video", {"video_url": PIXEL, "strength": 2}, "strength", "less_than_equal"),
        ("image", {"image_url": PIXEL, "prompt": ""}, "prompt", "value_error"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    shared_door: Door, endpoint: str, given: dict[str, Any], field: str, kind: str
) -> None:
    answer = await shared_door.submit(endpoint=f"{shared_door.endpoint}/{endpoint}", **given)
    assert answer.status_code == 422
    assert [(problem["loc"], problem["type"]) for problem in answer.json()["detail"]] == [(["body", field], kind)]


async def test_requests_of_a_longer_endpoint_are_found_under_owner_and_app(shared_door: Door) -> None:
    body = (await shared_door.submit(endpoint=f"{shared_door.endpoint}/image", image_url=PIXEL)).json()
    assert body["status_url"] == f"{shared_door.url}/{shared_door.endpoint}/requests/{body['request_id']}/status"
    long_form = f"/{shared_door.endpoint}/image/requests/{body['request_id']}/status"
    assert (await shared_door.http.get(long_form)).json()["status_url"] == body["status_url"]


async def test_a_file_that_another_server_does_not_deliver_fails_the_request_as_the_callers_input(
    shared_door: Door,
) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await shared_door.submit(
            endpoint=f"{shared_door.endpoint}/image", image_url=f"http://127.0.0.1:{port}/a.png"
        )
    assert answer.status_code == 422  # an address of this machine is refused at once
    assert answer.json()["detail"][0]["loc"] == ["body", "image_url"]
