"""A gateway before a service of a test's own, and someone who calls it over HTTP."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from httpx2 import AsyncClient, Response

from gateway.metrics import GatewayMetrics
from gateway.server import serving
from gateway.settings import GatewaySettings
from jobs.keys import create_key
from tests.deployment import Deployment, eventually

QUICK: dict[str, Any] = {
    "prompt": "butterflies",
    "num_inference_steps": 3,
    "use_rife": False,
    "video_size": {"width": 64, "height": 64},
}
"""An input that is quickly painted."""
ENDED = {"COMPLETED"}


@dataclass
class Door:
    """Someone with a key who calls a gateway."""

    http: AsyncClient
    url: str
    api_key: str
    endpoint: str
    deployment: Deployment
    service_port: int

    async def submit(self, *, endpoint: str | None = None, query: str = "", **more: Any) -> Response:
        """POST a quick input with more in it; `headers` are sent with it."""
        headers = more.pop("headers", {})
        return await self.http.post(f"/{endpoint or self.endpoint}{query}", json=QUICK | more, headers=headers)

    async def submitted(self, **more: Any) -> str:
        """The id of a request that was accepted."""
        response = await self.submit(**more)
        assert response.status_code == 200, response.text
        request_id: str = response.json()["request_id"]
        return request_id

    def path(self, request_id: str, rest: str = "") -> str:
        """The path of a request."""
        return f"/{self.endpoint}/requests/{request_id}{rest}"

    async def status(self, request_id: str, query: str = "") -> Response:
        """GET its status."""
        return await self.http.get(self.path(request_id, f"/status{query}"))

    async def reaches(self, request_id: str, word: str, query: str = "") -> dict[str, Any]:
        """Wait for a word of its status; returns that status."""

        async def look() -> dict[str, Any]:
            body: dict[str, Any] = (await self.status(request_id, query)).json()
            return body

        return await eventually(look, lambda body: body.get("status") == word)

    async def result(self, request_id: str) -> Response:
        """GET its result."""
        return await self.http.get(self.path(request_id))

    async def cancel(self, request_id: str) -> Response:
        """PUT its cancellation."""
        return await self.http.put(self.path(request_id, "/cancel"))

    @asynccontextmanager
    async def stranger(self) -> AsyncIterator[Door]:
        """Someone of another tenant."""
        _, api_key = await create_key(self.deployment.broker, f"stranger to {self.endpoint}")
        async with caller(self.url, api_key) as http:
            yield replace(self, http=http, api_key=api_key)


@asynccontextmanager
async def caller(url: str, api_key: str, *, authority: Path | None = None) -> AsyncIterator[AsyncClient]:
    """An HTTP client with a key, which trusts an authority."""
    trust = ssl.create_default_context(cafile=authority)
    async with AsyncClient(base_url=url, headers={"authorization": f"Key {api_key}"}, timeout=30, verify=trust) as http:
        yield http


@asynccontextmanager
async def door_of(
    deployment: Deployment,
    settings: GatewaySettings = GatewaySettings(),  # noqa: B008 - frozen
    metrics: GatewayMetrics | None = None,
    authority: Path | None = None,
) -> AsyncIterator[Door]:
    """A gateway with a service behind it, and someone new before it."""
    service_port = await deployment.service()
    served = replace(settings, service=f"127.0.0.1:{service_port}", listen="127.0.0.1:0")
    _, api_key = await create_key(deployment.broker, f"tenant of {deployment.endpoint}")
    async with serving(served, metrics) as port:
        url = f"{'https' if settings.certificate else 'http'}://127.0.0.1:{port}"
        async with caller(url, api_key, authority=authority) as http:
            yield Door(http, url, api_key, deployment.endpoint, deployment, service_port)


async def events_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a status stream, up to its end."""
    return [
        json.loads(line.removeprefix("data: ")) async for line in response.aiter_lines() if line.startswith("data: ")
    ]
