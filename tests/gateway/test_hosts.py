"""Calls by way of the proxy path, under the hosted names, and from pages of other origins."""

from __future__ import annotations

import pytest
from httpx2 import AsyncClient

from gateway.settings import GatewaySettings
from tests.deployment import Deployment
from tests.gateway.door import QUICK, Door, door_of

PROXY = "/api/fal/proxy"


async def test_every_call_may_go_to_the_proxy_path(door: Door) -> None:
    async def call(method: str, target: str, **more: object) -> dict[str, object]:
        headers = {"x-fal-target-url": target}
        answer = await door.http.request(method, PROXY, headers=headers, **more)  # type: ignore[arg-type]
        body: dict[str, object] = answer.json()
        return body

    queued = await call("POST", f"https://queue.fal.run/{door.endpoint}?fal_max_queue_length=9", json=QUICK)
    request = f"https://queue.fal.run/{door.endpoint}/requests/{queued['request_id']}"
    assert (await call("GET", f"{request}/status?logs=1"))["status"] == "IN_QUEUE"
    assert (await call("PUT", f"{request}/cancel"))["status"] == "CANCELLATION_REQUESTED"
    initiated = await call("POST", "https://rest.fal.ai/storage/upload/initiate", json={"content_type": "image/png"})
    assert str(initiated["upload_url"]).startswith(door.url)
    await door.deployment.worker()
    made = await call("POST", f"https://fal.run/{door.endpoint}", json=QUICK | {"seed": 2})
    assert made["seed"] == 2
    again = await call("GET", f"{door.url}/{door.endpoint}/requests/{queued['request_id']}/status")
    assert again["error_type"] == "client_cancelled"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (None, 400),
        ("https://example.com/a", 412),
        ("https://queue.fal.run.example.com/a", 412),
        ("ftp://queue.fal.run/a", 412),
        ("http://[", 412),
        ("https://queue.fal.run/api/fal/proxy", 404),
    ],
)
async def test_a_target_elsewhere_is_refused(shared_door: Door, target: str | None, status: int) -> None:
    headers = {"x-fal-target-url": target} if target is not None else {}
    assert (await shared_door.http.post(PROXY, json=QUICK, headers=headers)).status_code == status


async def test_the_proxy_lends_a_key_only_where_it_was_given_one(door: Door) -> None:
    headers = {"x-fal-target-url": f"https://queue.fal.run/{door.endpoint}"}
    async with AsyncClient(base_url=door.url) as anyone:
        assert (await anyone.post(PROXY, json=QUICK, headers=headers)).status_code == 401
    lending = GatewaySettings(proxy_api_key=door.api_key)
    async with door_of(door.deployment, lending) as other, AsyncClient(base_url=other.url) as anyone:
        answer = await anyone.post(PROXY, json=QUICK, headers=headers)
        assert answer.status_code == 200
        assert (await anyone.post(f"/{door.endpoint}", json=QUICK)).status_code == 401
    assert (await door.status(answer.json()["request_id"])).status_code == 202


async def test_the_host_of_blocking_runs_is_told_by_its_name(door: Door) -> None:
    answer = await door.http.post(f"/{door.endpoint}", json=QUICK | {"seed": -1}, headers={"host": "fal.run"})
    assert answer.status_code == 422
    await door.deployment.worker()
    made = await door.http.post(f"/{door.endpoint}", json=QUICK, headers={"host": "fal.run"})
    assert made.json()["video"]["url"]


async def test_pages_of_other_origins_may_call_only_if_they_are_named(deployment: Deployment) -> None:
    asked = {
        "origin": "https://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    async with door_of(deployment) as closed:
        answer = await closed.http.options(f"/{closed.endpoint}", headers=asked)
        assert "access-control-allow-origin" not in answer.headers
        for answer in (
            await closed.submit(headers={"origin": "https://page.example"}),
            await closed.http.get("/health", headers={"origin": "https://page.example"}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    async with door_of(deployment, GatewaySettings(cors_origins=("https://page.example",))) as opened:
        answer = await opened.http.options(f"/{opened.endpoint}", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        answer = await opened.submit(headers={"origin": "https://page.example"})
        assert "x-fal-request-id" in answer.headers["access-control-expose-headers"]
        answer = await opened.submit(headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in answer.headers


async def test_the_urls_of_answers_begin_as_they_are_told_to(deployment: Deployment) -> None:
    async with door_of(deployment, GatewaySettings(public_url="https://videos.example/door/")) as door:
        body = (await door.submit()).json()
    assert body["status_url"].startswith(f"https://videos.example/door/{door.endpoint}/requests/")
