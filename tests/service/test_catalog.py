"""What callers are told about the endpoints, and clients that call for several of them."""

from __future__ import annotations

import cogreel
import pytest
from cogreel import AsyncCogReel
from cogreel.v1.admin_pb2 import InputKind

from tests.deployment import Deployment


async def test_a_caller_sees_the_endpoints_with_their_cards_and_queues(deployment: Deployment) -> None:
    image, video = deployment.serve_files()
    port = await deployment.service()
    caller = await deployment.caller(port)
    await caller.submit()
    await caller.submit()
    async with AsyncCogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        endpoints = await client.endpoints()
    assert [endpoint.endpoint for endpoint in endpoints] == [deployment.endpoint, image, video]
    assert [endpoint.waiting for endpoint in endpoints] == [2, 0, 0]
    assert endpoints[0].card == deployment.card
    assert endpoints[1].card.input_kind == InputKind.INPUT_KIND_IMAGE_TO_VIDEO


async def test_one_connection_serves_callers_with_keys_of_their_own(deployment: Deployment) -> None:
    port = await deployment.service()
    one, other = await deployment.caller(port), await deployment.caller(port)
    request_id = (await one.submit()).request_id
    async with AsyncCogReel(f"127.0.0.1:{port}") as client:
        assert (await client.with_api_key(one.api_key).status(request_id)).status.request_id == request_id
        with pytest.raises(cogreel.NotFoundError):
            await client.with_api_key(other.api_key).status(request_id)
        with pytest.raises(cogreel.AuthenticationError):
            await client.with_api_key("").endpoints()
