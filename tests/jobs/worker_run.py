"""Runs of worker processes, without a device: they take requests, answer and die as the real ones do."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self, cast

from cogreel.v1.queue_pb2 import PRIORITY_NORMAL

from inference.supervisor import Supervisor
from inference.supervisor import WorkerRun as ReportedRun
from jobs.broker import Broker, BrokerSettings
from jobs.control import answer_controls
from jobs.deliveries import Deliveries
from jobs.dispatch import Dispatcher
from jobs.lease import Lease
from jobs.record_pb2 import Worker
from jobs.streams import ensure_consumers
from jobs.subjects import REQ, RequestKey, consumer_name
from tests.jobs.requests import output_named


class WorkerRun:
    """One run, with a connection of its own. `asked` counts how often it was asked for a request.

    With `obeys` unset it hears neither questions nor cancellations, as if its network let only some messages through.
    """

    def __init__(self, settings: BrokerSettings, *endpoints: str, obeys: bool = True) -> None:
        self.incarnation = secrets.token_hex(8)
        self.broker = Broker(replace(settings, name=f"worker {self.incarnation}"))
        self.asked = 0
        self._endpoints = endpoints
        self._obeys = obeys
        self._stack = AsyncExitStack()
        self._leased: dict[Lease, AbstractAsyncContextManager[Lease | None]] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.broker)
            await ensure_consumers(self.broker, self._endpoints)
            self.deliveries = await stack.enter_async_context(Deliveries(self.broker, self._endpoints))
            worker = Worker(incarnation=self.incarnation, name=f"worker {self.incarnation}")
            self.dispatcher = await stack.enter_async_context(Dispatcher(self.broker, self.deliveries, worker))
            if self._obeys:
                await stack.enter_async_context(
                    answer_controls(self.broker, self.incarnation, holds=self._holds, on_cancel=self.dispatcher.cancel)
                )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lease in list(self._leased):
            await self.put_down(lease)
        await self._stack.aclose()

    def _holds(self, key: RequestKey, attempt: int) -> bool:
        self.asked += 1
        return self.dispatcher.holds(key, attempt)

    async def take(self, *, within_s: float = 20.0) -> Lease:
        """Lease the next request."""
        async with asyncio.timeout(within_s):
            context = self.dispatcher.next()
            lease = await context.__aenter__()
        assert lease is not None
        self._leased[lease] = context
        return lease

    async def put_down(self, lease: Lease) -> None:
        """End the block in which a lease is worked on."""
        await self._leased.pop(lease).__aexit__(None, None, None)

    async def die(self) -> None:
        """Lose the connection for good: nothing that follows reaches anyone."""
        await self.broker.nc.close()


async def bury(supervisor: Supervisor, worker: WorkerRun, lease: Lease) -> None:
    """Let the supervisor speak for a run that died while it had a lease."""
    await supervisor.bury(ReportedRun(incarnation=worker.incarnation, ready=True, replies=[lease.delivery.reply]))


async def unanswered(broker: Broker, endpoint: str) -> int:
    """How many messages of the endpoint's normal consumer are still to be handed out or answered for."""
    info = await broker.api(f"CONSUMER.INFO.{REQ}.{consumer_name(endpoint, PRIORITY_NORMAL)}", {})
    return cast("int", info["num_pending"]) + cast("int", info["num_ack_pending"])


async def work_off(worker: WorkerRun, taken: list[RequestKey]) -> None:
    """Complete whatever comes, until the worker is closed."""
    while True:
        async with worker.dispatcher.next() as lease:
            if lease is None:
                return
            taken.append(lease.key)
            assert await lease.complete(output_named(f"attempt {lease.record.attempt}"))
