"""What a gateway counts, as Prometheus would read it."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack

import httpx2
import pytest
from httpx2 import AsyncClient
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from gateway.metrics import GatewayMetrics
from gateway.server import serving
from gateway.settings import GatewaySettings
from jobs.keys import create_key
from tests.deployment import Deployment
from tests.gateway.door import QUICK, caller, door_of
from tests.waiting import until

STATUS = "/{endpoint}/requests/{request_id}/status"


async def test_calls_are_counted_by_pattern_of_the_route_and_status(deployment: Deployment) -> None:
    registry = CollectorRegistry()
    async with door_of(deployment, metrics=GatewayMetrics(registry)) as door:
        request_id = await door.submitted()
        await door.status(request_id)
        await door.status(str(uuid.uuid4()))
        target = {"x-fal-target-url": f"https://queue.fal.run/{door.endpoint}/requests/{request_id}/status"}
        await door.http.get("/api/fal/proxy", headers=target)
        await door.http.request("BREW", "/no/such/page")

        def calls(route: str, method: str, code: str) -> float | None:
            return registry.get_sample_value(
                "cogreel_http_calls_total", {"route": route, "method": method, "code": code}
            )

        # A call is counted just after its answer has gone out.
        await until(lambda: calls("/{endpoint}", "other", "405") == 1)
        assert calls("/{endpoint}", "POST", "200") == 1
        assert calls(STATUS, "GET", "202") == 2
        assert calls(STATUS, "GET", "404") == 1
        shown = [sample for family in registry.collect() for sample in family.samples]
        assert not [sample for sample in shown if request_id in repr(sample) or door.endpoint in repr(sample)]
        taken = registry.get_sample_value("cogreel_http_call_seconds_count", {"route": STATUS})
        assert taken == 3


async def test_a_stream_counts_as_open_until_it_is_left_and_as_broken_off_when_the_gateway_stops(
    deployment: Deployment,
) -> None:
    registry = CollectorRegistry()

    def streams() -> float | None:
        return registry.get_sample_value("cogreel_http_streams_open", {"kind": "stream"})

    def broken_off() -> float | None:
        return registry.get_sample_value("cogreel_http_streams_broken_off_total")

    async with AsyncExitStack() as outliving:
        async with door_of(deployment, metrics=GatewayMetrics(registry)) as door:
            path = door.path(await door.submitted(), "/status/stream")
            async with door.http.stream("GET", path) as response:
                await anext(response.aiter_lines())
                assert streams() == 1
            await until(lambda: streams() == 0)
            assert broken_off() == 0
            http = await outliving.enter_async_context(caller(door.url, door.api_key))
            lines = (await outliving.enter_async_context(http.stream("GET", path))).aiter_lines()
            await anext(lines)
        with pytest.raises(httpx2.RemoteProtocolError):
            async for _ in lines:
                pass
    assert (streams(), broken_off()) == (0, 1)


async def test_a_service_that_is_away_counts_as_its_failure_and_a_wrong_key_does_not(deployment: Deployment) -> None:
    registry = CollectorRegistry()
    failures = "cogreel_http_upstream_failures_total"
    key = {"authorization": f"Key {'0' * 16}:{'A' * 43}"}
    async with door_of(deployment, metrics=GatewayMetrics(registry)) as door:
        assert (await door.http.post(f"/{door.endpoint}", json=QUICK, headers=key)).status_code == 401
        assert registry.get_sample_value(failures, {"upstream": "service"}) == 0
    registry = CollectorRegistry()
    away = GatewaySettings(service="127.0.0.1:1", listen="127.0.0.1:0", call_timeout_s=0.3)
    async with serving(away, GatewayMetrics(registry)) as port:
        async with AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=key) as http:
            assert (await http.post("/fal-ai/cogvideox-5b", json=QUICK)).status_code == 503
        assert registry.get_sample_value(failures, {"upstream": "service"}) == 1
        assert registry.get_sample_value(failures, {"upstream": "store"}) == 0


async def test_a_stream_whose_service_goes_away_is_broken_off_and_no_fault_of_the_gateway(
    deployment: Deployment,
) -> None:
    registry = CollectorRegistry()
    _, api_key = await create_key(deployment.broker, "someone who watches")
    async with AsyncExitStack() as outliving:
        async with deployment.service_running() as service_port:
            settings = GatewaySettings(service=f"127.0.0.1:{service_port}", listen="127.0.0.1:0", call_timeout_s=0.3)
            port = await outliving.enter_async_context(serving(settings, GatewayMetrics(registry)))
            http = await outliving.enter_async_context(caller(f"http://127.0.0.1:{port}", api_key))
            request_id = (await http.post(f"/{deployment.endpoint}", json=QUICK)).json()["request_id"]
            path = f"/{deployment.endpoint}/requests/{request_id}/status/stream"
            lines = (await outliving.enter_async_context(http.stream("GET", path))).aiter_lines()
            await anext(lines)
        with capture_logs() as logs, pytest.raises(httpx2.RemoteProtocolError):
            async for _ in lines:
                pass
        await until(lambda: registry.get_sample_value("cogreel_http_streams_broken_off_total") == 1)
        assert registry.get_sample_value("cogreel_http_upstream_failures_total", {"upstream": "service"}) == 1
        assert not [line for line in logs if line["event"] == "http.fault"]
