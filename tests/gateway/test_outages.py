"""What callers are told while the service is away, and what the log keeps to itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from httpx2 import AsyncClient
from structlog.testing import capture_logs

from gateway.server import serving
from gateway.settings import GatewaySettings
from tests.gateway.door import QUICK, Door

KEY = {"authorization": f"Key {'0' * 16}:{'A' * 43}"}


@pytest_asyncio.fixture
async def alone() -> AsyncIterator[AsyncClient]:
    """Someone before a gateway whose service is not there."""
    settings = GatewaySettings(service="127.0.0.1:1", listen="127.0.0.1:0", call_timeout_s=0.3)
    async with serving(settings) as port, AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=KEY) as http:
        yield http


@pytest.mark.parametrize("path", ["/fal-ai/cogvideox-5b", "/run/fal-ai/cogvideox-5b", "/storage/upload/initiate"])
async def test_a_service_that_is_away_is_said_to_be(alone: AsyncClient, path: str) -> None:
    answer = await alone.post(path, json=QUICK)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-fal-request-id"]
    assert "out of reach" in answer.json()["detail"]


async def test_the_log_names_calls_and_requests_but_no_secrets(door: Door) -> None:
    with capture_logs() as logs:
        request_id = await door.submitted()
        await door.status(request_id)
        initiated = (await door.http.post("/storage/upload/initiate", json={"content_type": "image/png"})).json()
        await door.http.put(initiated["upload_url"], content=b"")
    served = [line for line in logs if line["event"] == "http.served"]
    assert [line["status"] for line in served] == [200, 202, 200, 422]
    assert served[1]["request_id"] == request_id
    kept = repr(logs)
    assert door.api_key not in kept
    assert initiated["upload_url"].rpartition("/")[2] not in kept
