"""Services and workers for a test, in this process, on real engines and over a real gRPC channel."""

from __future__ import annotations

import asyncio
import secrets
import time
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import grpc
from cogreel.v1 import queue_pb2, queue_pb2_grpc, storage_pb2_grpc
from cogreel.v1.admin_pb2 import ModelCard
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest, SubmitResponse, WatchStatusResponse
from cogreel.v1.video_pb2 import ImageSize, TextToVideoInput, VideoSize
from prometheus_client import CollectorRegistry

from files import ObjectStore, ObjectStoreSettings
from files.fetch_guard import FetchSettings
from files.own_urls import OwnUrls
from files.remote import RemoteFiles
from host.engines import EmbeddedS3
from inference.blend import BlendDoubler
from inference.metrics import WorkerMetrics
from inference.model import VideoModel
from inference.simulated import SimulatedModel
from inference.worker import VideoWorker, WorkerSettings
from jobs.broker import Broker, BrokerSettings
from jobs.cards import load_card
from jobs.deliveries import Deliveries
from jobs.dispatch import Dispatcher
from jobs.keys import create_key
from jobs.metrics import QueueMetrics
from jobs.record_pb2 import Worker
from jobs.streams import ensure_consumers, ensure_streams
from jobs.tasks import end_task
from service.metrics import ServiceMetrics
from service.queue_servicer import QueueServiceSettings
from service.server import ServerSettings, serving
from service.server_tls import ServerTls
from service.sweeper import SweeperSettings
from service.upload_rules import UploadSettings
from service.webhooks import WebhookSettings

_T = TypeVar("_T")


async def eventually(look: Callable[[], Awaitable[_T]], accept: Callable[[_T], bool], *, within_s: float = 20) -> _T:
    """Look again and again until what is seen is acceptable."""
    deadline = time.monotonic() + within_s
    while True:
        seen = await look()
        if accept(seen):
            return seen
        assert time.monotonic() < deadline, f"still not so after {within_s} s: {seen}"
        await asyncio.sleep(0.01)  # between two looks


def fetch(url: str) -> bytes:
    """What a URL serves to anyone."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


@dataclass(frozen=True)
class Caller:
    """Someone with an API key and a channel."""

    stub: queue_pb2_grpc.QueueServiceAsyncStub
    tenant: str
    api_key: str
    endpoint: str
    storage_stub: storage_pb2_grpc.StorageServiceAsyncStub | None = None

    @property
    def storage(self) -> storage_pb2_grpc.StorageServiceAsyncStub:
        """StorageService, for callers that were made with it."""
        assert self.storage_stub is not None
        return self.storage_stub

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call carries."""
        return (("authorization", f"Bearer {self.api_key}"),)

    def submission(self, prompt: str = "butterflies", *, steps: int = 3, **more: object) -> SubmitRequest:
        """A request that is quickly painted: 64 x 64, no interpolation."""
        text = TextToVideoInput(
            prompt=prompt,
            num_inference_steps=steps,
            use_rife=False,
            video_size=VideoSize(dimensions=ImageSize(width=64, height=64)),
        )
        submission = SubmitRequest(endpoint=self.endpoint, text_to_video=text)
        submission.MergeFrom(SubmitRequest(**more))  # type: ignore[arg-type]
        return submission

    async def submit(self, prompt: str = "butterflies", *, steps: int = 3, **more: object) -> SubmitResponse:
        """Submit such a request."""
        return await self.stub.Submit(self.submission(prompt, steps=steps, **more), metadata=self.metadata)

    async def status(self, request_id: str, *, with_logs: bool = False) -> queue_pb2.GetStatusResponse:
        """GetStatus."""
        request = queue_pb2.GetStatusRequest(request_id=request_id, with_logs=with_logs)
        return await self.stub.GetStatus(request, metadata=self.metadata)

    async def result(self, request_id: str) -> queue_pb2.GetResultResponse:
        """GetResult."""
        return await self.stub.GetResult(queue_pb2.GetResultRequest(request_id=request_id), metadata=self.metadata)

    async def cancel(self, request_id: str) -> queue_pb2.CancelResponse:
        """Cancel."""
        return await self.stub.Cancel(queue_pb2.CancelRequest(request_id=request_id), metadata=self.metadata)

    async def watch(self, request_id: str, cursor: str | None = None) -> AsyncGenerator[WatchStatusResponse, None]:
        """WatchStatus, to its end."""
        request = queue_pb2.WatchStatusRequest(request_id=request_id, cursor=cursor)
        async for response in self.stub.WatchStatus(request, metadata=self.metadata):
            yield response

    async def ended(self, request_id: str, *, within_s: float = 30) -> RequestState.ValueType:
        """Watch until the end; the terminal state."""
        state = RequestState.REQUEST_STATE_UNSPECIFIED
        async with asyncio.timeout(within_s):
            async for response in self.watch(request_id):
                if response.HasField("state"):
                    state = response.state.state
        return state

    async def reaches(self, request_id: str, state: RequestState.ValueType) -> queue_pb2.RequestStatus:
        """Wait until the request is in a state."""
        answer = await eventually(lambda: self.status(request_id), lambda seen: seen.status.state == state)
        return answer.status


@asynccontextmanager
async def store_in(s3: EmbeddedS3) -> AsyncIterator[ObjectStore]:
    """A bucket for the length of the block."""
    store = ObjectStore(
        ObjectStoreSettings(
            endpoint=s3.endpoint,
            access_key=s3.access_key,
            secret_key=s3.secret_key,
            bucket=f"test-{secrets.token_hex(6)}",
            secure=False,
        )
    )
    await store.ensure_bucket()
    yield store
    await store.bucket.call(None, partial(store.bucket.client.remove_bucket, store.bucket.name))


class Deployment:
    """Runs services and workers until the end of the test. Everything is named at random: tests do not meet."""

    def __init__(self, settings: BrokerSettings, store: ObjectStore) -> None:
        self.endpoint = f"test/{secrets.token_hex(6)}"
        self.store = store
        self.cards = {self.endpoint: load_card("simulated")}
        self.settings = settings
        self.fetching = FetchSettings()
        """From where services and workers that are started later fetch files."""
        self.webhooks = WebhookSettings()
        """How services that are started later deliver webhooks."""
        self.worker_settings = settings
        """How workers that are started later reach NATS."""
        self.broker = Broker(self.settings)
        self._stack = AsyncExitStack()

    @property
    def card(self) -> ModelCard:
        """The card of `endpoint`."""
        return self.cards[self.endpoint]

    def serve_files(self) -> tuple[str, str]:
        """Serve the other kinds of input as well, from here on; their endpoints, for a picture and for a video."""
        endpoints = f"{self.endpoint}/image", f"{self.endpoint}/video"
        for endpoint, kind in zip(endpoints, ("image", "video"), strict=True):
            self.cards[endpoint] = load_card(f"simulated-{kind}-to-video")
        return endpoints

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.broker)
        await ensure_streams(self.broker)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def service(
        self,
        *,
        checkpoint_s: float = 15.0,
        retention_s: float = 3600,
        uploads: UploadSettings = UploadSettings(),  # noqa: B008 - frozen
    ) -> int:
        """Start a service replica; returns its port."""
        return await self._stack.enter_async_context(
            self.service_running(checkpoint_s=checkpoint_s, retention_s=retention_s, uploads=uploads)
        )

    @asynccontextmanager
    async def service_running(
        self,
        *,
        port: int = 0,
        checkpoint_s: float = 15.0,
        retention_s: float = 3600,
        uploads: UploadSettings = UploadSettings(),  # noqa: B008 - frozen
        registry: CollectorRegistry | None = None,
        scaler_address: str = "",
        health_address: str = "",
        tls: ServerTls | None = None,
    ) -> AsyncIterator[int]:
        """A service replica for the length of the block; `registry` gets its metrics."""
        settings = ServerSettings(
            address=f"127.0.0.1:{port}",
            scaler_address=scaler_address,
            health_address=health_address,
            tls=tls,
            grace_s=0.5,
            queue=QueueServiceSettings(checkpoint_s=checkpoint_s),
            sweeper=SweeperSettings(retention_s=retention_s),
            uploads=uploads,
            fetching=self.fetching,
            webhooks=self.webhooks,
        )
        async with (
            Broker(self.settings, QueueMetrics(registry)) as broker,
            serving(settings, broker, self.store, self.cards, metrics=ServiceMetrics(registry)) as bound,
        ):
            yield bound

    async def caller(self, port: int, *, tenant: str | None = None, api_key: str | None = None) -> Caller:
        """Someone new with a key of their own, or of a given tenant."""
        tenant = tenant or f"tenant {secrets.token_hex(4)}"
        if api_key is None:
            _, api_key = await create_key(self.broker, tenant)
        channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        queue, storage = queue_pb2_grpc.QueueServiceStub(channel), storage_pb2_grpc.StorageServiceStub(channel)
        return Caller(queue, tenant, api_key, self.endpoint, storage)

    async def dead_worker(self) -> None:
        """Let the next request be claimed by a worker that dies right after: it holds nothing and answers nobody."""
        await ensure_consumers(self.broker, [self.endpoint])
        broker = await self._stack.enter_async_context(Broker(self.worker_settings))

        async def claim_and_die() -> None:
            worker = Worker(incarnation=secrets.token_hex(8), name="dead")
            async with (
                Deliveries(broker, [self.endpoint]) as deliveries,
                Dispatcher(broker, deliveries, worker) as dispatcher,
            ):
                await dispatcher.next().__aenter__()

        task = asyncio.create_task(claim_and_die())
        self._stack.push_async_callback(end_task, task)

    async def worker(
        self,
        *,
        step_s: float = 0.0,
        model: VideoModel | None = None,
        grace_s: float = 10.0,
        name: str = "tester",
        registry: CollectorRegistry | None = None,
    ) -> VideoWorker:
        """Start a worker that is drained at the end of the test; `registry` gets its metrics."""
        await ensure_consumers(self.broker, self.cards)  # which is the service's part, where there is one
        broker = await self._stack.enter_async_context(Broker(self.worker_settings, QueueMetrics(registry)))
        worker = VideoWorker(
            WorkerSettings(incarnation=secrets.token_hex(8), name=name, endpoints=tuple(self.cards), grace_s=grace_s),
            broker,
            self.store,
            model or SimulatedModel(step_s=step_s, frames=9),
            BlendDoubler(),
            metrics=WorkerMetrics(registry),
            remote=RemoteFiles(self.fetching, own_urls=OwnUrls(self.store.bucket)),
            lora_cache_bytes=1024**2,
        )
        ready = asyncio.Event()
        running = asyncio.create_task(worker.run(on_ready=ready.set), name=f"worker {name}")

        async def drained() -> None:
            worker.drain()
            await asyncio.wait({running})

        self._stack.push_async_callback(drained)
        await asyncio.wait({running, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        return worker
