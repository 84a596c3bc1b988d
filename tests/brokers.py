"""NATS servers for the tests, one or a cluster of three, kept running on loopback: what a test does to either is named
here, so that it runs on both.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from host.children import ChildSpec, KeptChild
from host.engines import EmbeddedNats, NatsCluster, NatsConfig, nats_config_text
from host.engines.ports import choose_ports
from jobs.broker import ApiError, Broker, BrokerSettings
from jobs.errors import BrokerUnavailableError
from jobs.streams import ensure_streams
from jobs.subjects import KEYS, LOG, PAUSES, REQ, WEBHOOK_KEYS
from tests.waiting import seen, until

READY_WITHIN_S = 40.0
NAMES = ("one", "two", "three")
STREAMS = (REQ, LOG, KEYS, PAUSES, WEBHOOK_KEYS)


def _has_stopped(pid: int) -> bool:
    """Whether no thread of a process runs any more."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


class NatsServers(ABC):
    """One server or three, as an async context manager. What dies is started again by itself."""

    replicas: int

    @property
    @abstractmethod
    def url(self) -> str:
        """All of them, comma-separated, with credentials."""

    @abstractmethod
    def pids(self) -> list[int]:
        """The processes that run at the moment."""

    @abstractmethod
    async def wait_ready(self) -> None:
        """Wait until streams can be used, or can be used again."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop all of them for good."""

    @abstractmethod
    async def kill(self) -> None:
        """Kill the one that leads REQ; its keeper starts it again."""

    async def kill_and_await_restart(self) -> None:
        """Kill the one that leads REQ, and wait until all is as before."""
        await self.kill()
        await self.wait_ready()

    def settings(self, *, name: str = "test") -> BrokerSettings:
        """How to reach them, with a copy of everything on each."""
        return BrokerSettings(url=self.url, name=name, replicas=self.replicas)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Keep all of them from answering while the block runs."""
        paused = self.pids()
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        while not all(map(_has_stopped, paused)):
            time.sleep(0.001)  # a thread on another core may answer once more after the signal
        try:
            yield
        finally:
            for pid in paused:
                os.kill(pid, signal.SIGCONT)

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class OneNats(NatsServers):
    """The server that `cogreeld up` starts."""

    replicas = 1

    def __init__(self, folder: Path) -> None:
        self._engine = EmbeddedNats(folder)

    @property
    def url(self) -> str:
        return self._engine.url

    def pids(self) -> list[int]:
        return [self._engine.pid] if self._engine.pid is not None else []

    async def wait_ready(self) -> None:
        await until(lambda: bool(self.pids()), within_s=READY_WITHIN_S)
        await self._engine.wait_ready()

    async def stop(self) -> None:
        await self._engine.stop()

    async def kill(self) -> None:
        (killed,) = self.pids()
        os.kill(killed, signal.SIGKILL)
        await until(lambda: self.pids() != [killed])

    async def __aenter__(self) -> Self:
        await self._engine.start()
        return self


class ThreeNats(NatsServers):
    """Three servers that keep each stream in three copies; clients know only those that they are given."""

    replicas = 3

    def __init__(self, folder: Path, *, advertise: bool = False) -> None:
        ports = choose_ports([f"{name} {kind}" for name in NAMES for kind in ("client", "peer", "monitor")])
        self._password = secrets.token_hex(8)
        self._clients = {name: ports[f"{name} client"] for name in NAMES}
        peers = tuple(ports[f"{name} peer"] for name in NAMES)
        self._servers: dict[str, KeptChild] = {}
        for name in NAMES:
            cluster = NatsCluster("three", ports[f"{name} peer"], peers, advertise)
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
        return ",".join(f"nats://test:{self._password}@127.0.0.1:{port}" for port in self._clients.values())

    def pids(self) -> list[int]:
        return [server.pid for server in self._servers.values() if server.pid is not None]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for server in self._servers.values():
                await stack.enter_async_context(server)
            await self.wait_ready()
            self._stack = stack.pop_all()
        return self

    async def stop(self) -> None:
        await self._stack.aclose()

    async def wait_ready(self) -> None:
        await seen(self._copies_are_current, bool, within_s=READY_WITHIN_S)

    async def _copies_are_current(self) -> bool:
        """Whether the streams can be made, and each has a leader and copies that are up to date."""
        if len(self.pids()) < len(NAMES):
            return False
        try:
            async with Broker(self.settings(name="readiness")) as broker:
                await broker.api("INFO", {}, timeout_s=0.5)  # before they have a leader, servers are silent
                await ensure_streams(broker)
                clusters = [(await broker.api(f"STREAM.INFO.{name}", {}))["cluster"] for name in STREAMS]
        except (BrokerUnavailableError, ApiError):
            return False
        copies = [copy for cluster in clusters for copy in cast("dict[str, Any]", cluster).get("replicas", [])]
        return len(copies) == len(STREAMS) * (self.replicas - 1) and all(copy["current"] for copy in copies)

    async def leader(self) -> str:
        """The name of the server that leads REQ.

        Raises:
            BrokerUnavailableError: there is none at the moment.
        """
        async with Broker(self.settings(name="who leads")) as broker:
            answer = await broker.api(f"STREAM.INFO.{REQ}", {})
        cluster = answer["cluster"]
        assert isinstance(cluster, dict)
        return str(cluster["leader"])

    async def kill(self) -> None:
        server = self._servers[await self.leader()]
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: server.pid != killed)


def servers_in(folder: Path, number: Literal[1, 3]) -> OneNats | ThreeNats:
    """That many servers, to be entered."""
    return OneNats(folder) if number == 1 else ThreeNats(folder)
