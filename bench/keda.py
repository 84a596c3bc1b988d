"""KEDA's part, played on real workers: it asks the real scaler, decides by the simulation's rules, starts and stops.

The rules are in seconds, where a cluster has minutes, so that a run shows several rounds from none to some and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from bench.queue import Bench
from bench.simulation.scaling import Autoscaler, Direction, Policy, Scaling, Trigger
from host.worker_pool import WorkerPool
from jobs.tasks import end_task
from service.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from service.externalscaler_pb2_grpc import ExternalScalerStub

SCALED = Scaling(
    minimum=0,
    maximum=3,
    polling_interval_s=2,
    cooldown_s=8,
    sync_s=3,
    up=Direction(policies=(Policy(type="Pods", value=2, period_s=6),)),
    down=Direction(stabilization_s=9, policies=(Policy(type="Pods", value=1, period_s=6),)),
    triggers=(Trigger(endpoints=("bench/worked",), target=2),),
)


@dataclass
class Life:
    """When a worker was wished for, when it took requests, and when it was gone: seconds from the beginning."""

    wished_s: float
    ready_s: float | None
    gone_s: float | None


@dataclass(eq=False)
class _Started:
    life: Life
    task: asyncio.Task[None]
    stop: asyncio.Event


class Keda:
    """Scales real workers while the block lasts, as an async context manager; at its end all are stopped."""

    def __init__(self, bench: Bench, address: str, rules: Scaling, *, step_s: float) -> None:
        self._bench = bench
        self._address = address
        self._rules = rules
        self._step_s = step_s
        self._autoscaler = Autoscaler(rules)
        self._started: list[_Started] = []
        self._ended: list[_Started] = []
        self._stack = AsyncExitStack()
        self._pushed = asyncio.Event()
        self._began = time.monotonic()
        self.starts = 0

    def lives(self) -> list[Life]:
        """All workers that there were."""
        return [started.life for started in (*self._ended, *self._started)]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(self._address))
            self._stub = ExternalScalerStub(channel)
            stack.push_async_callback(self._resize, 0)
            for part in (self._listen, self._poll, self._sync):
                stack.push_async_callback(end_task, asyncio.create_task(part(), name=part.__name__))
            self._stack = stack.pop_all()
        self._began = time.monotonic()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        await asyncio.gather(*(started.task for started in self._ended))

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _asked(self) -> ScaledObjectRef:
        [trigger] = self._rules.triggers
        metadata = {"endpoint": ",".join(trigger.endpoints), "target": str(trigger.target), "metric": trigger.metric}
        return ScaledObjectRef(name="bench", namespace="bench", scalerMetadata=metadata)

    async def _listen(self) -> None:
        async for told in self._stub.StreamIsActive(self._asked()):
            if told.result:
                self._pushed.set()

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rules.polling_interval_s):
                    await self._pushed.wait()
            self._pushed.clear()
            active = (await self._stub.IsActive(self._asked())).result
            await self._resize(self._autoscaler.poll(self._now(), active=active, replicas=len(self._started)))

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(self._rules.sync_s)
            [trigger] = self._rules.triggers
            question = GetMetricsRequest(scaledObjectRef=self._asked(), metricName=trigger.metric)
            [value] = (await self._stub.GetMetrics(question)).metricValues
            await self._resize(self._autoscaler.sync(self._now(), [value.metricValueFloat], len(self._started)))

    async def _resize(self, replicas: int) -> None:
        while len(self._started) < replicas:
            self.starts += 1
            life, stop = Life(self._now(), None, None), asyncio.Event()
            self._started.append(_Started(life, asyncio.create_task(self._live(life, stop)), stop))
        while len(self._started) > replicas:
            last = min(self._started, key=lambda started: (started.life.ready_s is not None, -started.life.wished_s))
            self._started.remove(last)
            self._ended.append(last)
            last.stop.set()

    async def _live(self, life: Life, stop: asyncio.Event) -> None:
        pool: WorkerPool = self._bench.workers(step_s=self._step_s)
        async with pool:
            life.ready_s = self._now()
            await stop.wait()
        life.gone_s = self._now()
