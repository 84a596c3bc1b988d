"""Replacing the processes of an installation by those of another release, one by one, as an orchestrator does it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobs.broker import Broker
from jobs.registry import list_workers
from tests.chaos.history import Fault, History
from tests.chaos.installation import Installation, KeptProcess, Release
from tests.deployment import eventually

READY_WITHIN_S = 60.0
_SERVES = health_pb2.HealthCheckRequest(service="cogreel.v1.QueueService")


class Rollout:
    """Replaces processes and waits until their successors are ready. Each replacement is noted in the history."""

    def __init__(self, installation: Installation, release: Release, broker: Broker, history: History) -> None:
        self._installation = installation
        self._release = release
        self._broker = broker
        self._history = history

    async def until_ready(self) -> None:
        """Wait until every process that there is now serves."""
        for service in self._installation.services:
            await self._serves(service)
        for worker in self._installation.workers:
            await eventually(partial(self._runs, worker.name), bool, within_s=READY_WITHIN_S)

    async def replace_service(self, service: KeptProcess) -> None:
        """SIGTERM to a replica of the service, and wait until its successor serves."""
        at = time.time()
        await self._terminate(service)
        await self._serves(service)
        self._history.add(Fault(at, time.time(), "replace", "service", service.name))

    async def replace_worker(self, worker: KeptProcess) -> None:
        """SIGTERM to the worker of a machine, and wait until its successor has its model."""
        at = time.time()
        before = await self._runs(worker.name)
        await self._terminate(worker)

        async def successors() -> set[str]:
            return await self._runs(worker.name) - before

        await eventually(successors, bool, within_s=READY_WITHIN_S)
        self._history.add(Fault(at, time.time(), "replace", "supervisor", worker.name))

    async def _terminate(self, kept: KeptProcess) -> None:
        kept.release = self._release
        old = kept.process
        assert old is not None
        old.terminate()

        async def successor() -> Path | None:
            process = kept.process
            return Path(process.cwd()) if process is not None and process != old else None

        assert await eventually(successor, bool, within_s=READY_WITHIN_S) == self._release.folder

    async def _serves(self, service: KeptProcess) -> None:
        async with grpc.aio.insecure_channel(service.settings.listen) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]

            async def serving() -> bool:
                try:
                    answer = await check(_SERVES, timeout=5, wait_for_ready=True)
                except grpc.aio.AioRpcError:
                    return False
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

            await eventually(serving, bool, within_s=READY_WITHIN_S)

    async def _runs(self, name: str) -> set[str]:
        """The incarnations of a machine's workers that answer."""
        return {found.incarnation for found in await list_workers(self._broker) if found.name.startswith(f"{name}/")}
