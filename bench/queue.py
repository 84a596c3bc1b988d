"""How fast the queue is, through gRPC, on this machine: `python -m bench.queue [--brokers 1|3] [--quick]`.

Everything runs as it does in production: the service and the workers are processes of their own, NATS fsyncs each
publish, workers are simulated devices. Callers run in this process. Prints one table with facts about the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc
import psutil
from cogreel.v1 import queue_pb2, queue_pb2_grpc
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest
from cogreel.v1.video_pb2 import ImageSize, TextToVideoInput, VideoSize
from grpc_health.v1 import health_pb2
from pydantic import SecretStr

from files import ObjectStore
from host.children import ChildSpec, KeptChild
from host.engines import EmbeddedS3
from host.engines.ports import choose_ports
from host.settings import Settings
from host.worker_pool import WorkerPool
from jobs.broker import Broker
from jobs.keys import create_key
from jobs.streams import ensure_consumers, ensure_streams
from tests.brokers import servers_in

ENDPOINTS = {"bench/idle": "simulated", "bench/worked": "simulated"}


@dataclass
class Bench:
    """A running service and someone who calls it."""

    stub: queue_pb2_grpc.QueueServiceAsyncStub
    metadata: tuple[tuple[str, str], ...]
    service_pid: int
    settings: Settings
    broker: Broker
    logs: Path

    async def submit(self, endpoint: str, *, steps: int = 1) -> queue_pb2.SubmitResponse:
        """Submit a request that is quickly painted."""
        text = TextToVideoInput(
            prompt="bench",
            num_inference_steps=steps,
            use_rife=False,
            video_size=VideoSize(dimensions=ImageSize(width=16, height=16)),
        )
        return await self.stub.Submit(SubmitRequest(endpoint=endpoint, text_to_video=text), metadata=self.metadata)

    async def watch(self, request_id: str) -> AsyncIterator[tuple[float, queue_pb2.WatchStatusResponse]]:
        """Each event with the moment of its arrival, in seconds since 1970."""
        request = queue_pb2.WatchStatusRequest(request_id=request_id)
        async for event in self.stub.WatchStatus(request, metadata=self.metadata):
            yield time.time(), event

    def workers(self, *, step_s: float, number: int = 1) -> WorkerPool:
        """Workers for the endpoint `bench/worked`, to be entered."""
        changes = {
            "simulated_step_s": step_s,
            "devices": ",".join(["simulated"] * number),
            "endpoints": {"bench/worked": "simulated"},
        }
        return WorkerPool(self.settings.model_copy(update=changes), self.broker, logs=self.logs)


@asynccontextmanager
async def running(brokers: Literal[1, 3], **changes: object) -> AsyncIterator[Bench]:
    """Engines and a service, without workers; `changes` are settings of both."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cogreel-bench-")))
        nats = servers_in(folder, brokers)
        await stack.enter_async_context(nats)
        s3 = await stack.enter_async_context(EmbeddedS3(folder))
        port = choose_ports(["grpc"])["grpc"]
        settings = Settings().model_copy(
            update={
                "nats_url": SecretStr(nats.url),
                "nats_replicas": brokers,
                "s3_endpoint": s3.endpoint,
                "s3_access_key": s3.access_key,
                "s3_secret_key": SecretStr(s3.secret_key),
                "listen": f"127.0.0.1:{port}",
                "endpoints": ENDPOINTS,
                "log_format": "json",
                "log_level": "warning",
                "worker_grace_s": 1.0,
            }
            | changes
        )
        broker = await stack.enter_async_context(Broker(settings.broker("bench")))
        await ensure_streams(broker)
        await ensure_consumers(broker, ENDPOINTS)
        await ObjectStore(settings.store()).ensure_bucket()
        _, key = await create_key(broker, "bench")
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(settings.listen))
        service = KeptChild(
            ChildSpec(
                name="service",
                argv=(sys.executable, "-m", "host.cli", "serve"),
                log_path=folder / "service.log",
                env=settings.environment(),
            ),
            ready=lambda _child: until_healthy(channel),
        )
        await stack.enter_async_context(service)
        assert service.pid is not None
        yield Bench(
            queue_pb2_grpc.QueueServiceStub(channel),
            (("authorization", f"Bearer {key}"),),
            service.pid,
            settings,
            broker,
            folder,
        )


async def until_healthy(channel: grpc.aio.Channel) -> None:
    """Wait until the service says that it sees the queue."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    question = health_pb2.HealthCheckRequest(service="cogreel.v1.QueueService")
    while True:
        answer = await check(question, wait_for_ready=True)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
        await asyncio.sleep(0.05)


def spread(seconds: list[float]) -> str:
    """p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms (n={len(ordered)})"


async def measure_submit(bench: Bench, number: int) -> dict[str, str]:
    """Durable submissions, one after the other and 64 at once."""
    alone = []
    for _ in range(number):
        began = time.perf_counter()
        await bench.submit("bench/idle")
        alone.append(time.perf_counter() - began)
    crowd: list[float] = []
    left = iter(range(number * 4))

    async def caller() -> None:
        for _ in left:
            began = time.perf_counter()
            await bench.submit("bench/idle")
            crowd.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(64)))
    rate = len(crowd) / (time.perf_counter() - began)
    return {"submit, one at a time": spread(alone), "submit, 64 at once": f"{spread(crowd)}, {rate:.0f}/s"}


async def measure_hand_off(bench: Bench, number: int) -> dict[str, str]:
    """From the beginning of Submit until the worker has the request: its started time."""
    waits, told = [], []
    async with bench.workers(step_s=0.0):
        for _ in range(number):
            began = time.time()
            submitted = await bench.submit("bench/worked")
            async for at, event in bench.watch(submitted.request_id):
                if event.state.state == RequestState.REQUEST_STATE_RUNNING:
                    waits.append(event.state.started_time.ToNanoseconds() / 1e9 - began)
                    told.append(at - began)
    return {"submit to claimed by an idle worker": spread(waits), "submit to caller told RUNNING": spread(told)}


async def measure_watchers(bench: Bench, watchers: int) -> dict[str, str]:
    """From a step being written until its watcher has it, while others watch requests of their own that wait."""
    async with AsyncExitStack() as stack, bench.workers(step_s=0.02):
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(bench.settings.listen, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(max(1, watchers // 500))
        ]
        waiting = [(await bench.submit("bench/idle")).request_id for _ in range(min(watchers - 1, 500))]
        begun = asyncio.Semaphore(0)

        async def wait(index: int) -> None:
            stub = queue_pb2_grpc.QueueServiceStub(channels[index % len(channels)])
            request = queue_pb2.WatchStatusRequest(request_id=waiting[index % len(waiting)])
            async for _ in stub.WatchStatus(request, metadata=bench.metadata):
                begun.release()

        others = [asyncio.create_task(wait(index)) for index in range(watchers - 1)]
        for _ in others:
            await begun.acquire()
        lags: list[float] = []
        for _ in range(4):
            submitted = await bench.submit("bench/worked", steps=50)
            async for at, event in bench.watch(submitted.request_id):
                if event.progress.stage == queue_pb2.STAGE_DENOISE and event.progress.step > 5:
                    lags.append(at - event.time.ToNanoseconds() / 1e9)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    return {f"step to its watcher, {watchers} watching": spread(lags)}


async def measure_backlog(bench: Bench, number: int) -> dict[str, str]:
    """How busy a device is under a backlog of 20 ms steps: from each request's first stage to its last step."""
    async with bench.workers(step_s=0.02):
        answers = [await bench.submit("bench/worked", steps=25) for _ in range(number)]
        spans = []
        for answer in answers:
            told = [event async for _, event in bench.watch(answer.request_id) if event.HasField("progress")]
            on_device = [event for event in told if event.progress.stage < queue_pb2.STAGE_ENCODE]
            spans.append((on_device[0].time.ToNanoseconds() / 1e9, on_device[-1].time.ToNanoseconds() / 1e9))
    share = sum(end - start for start, end in spans) / (spans[-1][1] - spans[0][0])
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(spans)]
    return {"device busy under a backlog": f"{share:.3f}; between two requests {spread(gaps)}"}


async def measure_cancel(bench: Bench, number: int) -> dict[str, str]:
    """From the acknowledged cancellation of the running request until the next one is claimed; steps of 20 ms."""
    waits = []
    async with bench.workers(step_s=0.02):
        for _ in range(number):
            first = await bench.submit("bench/worked", steps=50)
            second = await bench.submit("bench/worked", steps=1)
            async for _, event in bench.watch(first.request_id):
                if event.progress.step >= 3:
                    break
            await bench.stub.Cancel(queue_pb2.CancelRequest(request_id=first.request_id), metadata=bench.metadata)
            cancelled = time.time()
            async for _, event in bench.watch(second.request_id):
                if event.state.state == RequestState.REQUEST_STATE_RUNNING:
                    waits.append(event.state.started_time.ToNanoseconds() / 1e9 - cancelled)
    return {"cancel to next claimed, 20 ms steps": spread(waits)}


async def measure_long_queue(bench: Bench, number: int) -> dict[str, str]:
    """A long queue: memory of the service, and positions asked for in it."""
    before = psutil.Process(bench.service_pid).memory_info().rss
    left = iter(range(number))
    ids: list[str] = []

    async def caller() -> None:
        ids.extend([(await bench.submit("bench/idle")).request_id for _ in left])

    await asyncio.gather(*(caller() for _ in range(64)))
    asked = []
    for _ in range(300):
        request = queue_pb2.GetStatusRequest(request_id=secrets.choice(ids))
        began = time.perf_counter()
        await bench.stub.GetStatus(request, metadata=bench.metadata)
        asked.append(time.perf_counter() - began)
    after = psutil.Process(bench.service_pid).memory_info().rss
    grown = (after - before) / 1e6
    return {f"GetStatus among {number} queued": f"{spread(asked)}; the service grew by {grown:.0f} MB"}


async def main() -> None:
    """Run all measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it runs")
    arguments = parser.parse_args()
    scale = 0.1 if arguments.quick else 1.0
    rows: dict[str, str] = {}
    async with running(arguments.brokers) as bench:
        idle = psutil.Process(bench.service_pid).memory_info().rss
        rows["service, idle"] = f"{idle / 1e6:.0f} MB"
        rows |= await measure_submit(bench, int(1000 * scale))
        rows |= await measure_hand_off(bench, int(200 * scale))
        for watchers in (1, int(1000 * scale), int(5000 * scale)):
            rows |= await measure_watchers(bench, watchers)
        rows |= await measure_backlog(bench, max(3, int(40 * scale)))
        rows |= await measure_cancel(bench, max(3, int(30 * scale)))
        rows |= await measure_long_queue(bench, int(10_000 * scale))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, ", end="")
    print(f"{arguments.brokers} broker(s); callers, service, workers and engines on one machine")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    asyncio.run(main())
