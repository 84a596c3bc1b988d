"""A cluster of three NATS servers on loopback, kept running, for tests of the queue with three replicas."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from host.children import ChildSpec, KeptChild
from host.engines import NatsCluster, NatsConfig, nats_config_text
from host.engines.ports import choose_ports
from jobs.broker import ApiError, Broker, BrokerSettings
from jobs.errors import BrokerUnavailableError
from jobs.streams import ensure_streams
from jobs.subjects import REQ

READY_WITHIN_S = 40.0
NAMES = ("one", "two", "three")


class ThreeNats:
    """Three servers that keep each stream in three copies, as an async context manager."""

    replicas = 3

    def __init__(self, folder: Path) -> None:
        ports = choose_ports([f"{name} {kind}" for name in NAMES for kind in ("client", "peer", "monitor")])
        self._password = secrets.token_hex(8)
        self._clients = {name: ports[f"{name} client"] for name in NAMES}
        peers = tuple(ports[f"{name} peer"] for name in NAMES)
        self._servers: dict[str, KeptChild] = {}
        for name in NAMES:
            cluster = NatsCluster("three", ports[f"{name} peer"], peers)
            config = NatsConfig(
                name, self._clients[name], ports[f"{name} monitor"], folder / name, "test", self._password, cluster
            )
            path = folder / f"{name}.conf"
            path.write_text(nats_config_text(config))
            program = Path(sys.executable).with_name("nats-server")
            spec = ChildSpec(f"nats {name}", (str(program), "-c", str(path)), folder / f"{name}.log")
            self._servers[name] = KeptChild(spec)
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """All three, comma-separated."""
        return ",".join(f"nats://test:{self._password}@127.0.0.1:{port}" for port in self._clients.values())

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for server in self._servers.values():
                await stack.enter_async_context(server)
            await self._until_streams_can_be_made()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _until_streams_can_be_made(self) -> None:
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                try:
                    async with Broker(BrokerSettings(url=self.url, replicas=3)) as broker:
                        await ensure_streams(broker)
                        return
                except (BrokerUnavailableError, ApiError):
                    await asyncio.sleep(0.1)  # before the next try: there is no leader yet

    async def leader(self) -> str:
        """The name of the server that leads REQ."""
        async with Broker(BrokerSettings(url=self.url, replicas=3)) as broker:
            answer = await broker.api(f"STREAM.INFO.{REQ}", {})
        cluster = answer["cluster"]
        assert isinstance(cluster, dict)
        return str(cluster["leader"])

    async def kill_leader(self) -> str:
        """Kill the server that leads REQ; it is started again by itself. Returns its name."""
        name = await self.leader()
        pid = self._servers[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return name
