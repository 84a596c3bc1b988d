"""One worker process: it leases requests, renders them on its device, stores the videos and reports the results.

asyncio speaks to the broker and the store; one thread owns the device. A request is claimed only when the device is
free, so RUNNING never means waiting; while the last of it is encoded and stored, the next one has the device.
"""

from __future__ import annotations

import asyncio
import contextvars
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from cogreel.v1 import admin_pb2, queue_pb2

from files import ObjectStore, video_key
from files.fetch_guard import FetchSettings
from files.own_urls import OwnUrls
from files.remote import RemoteFiles
from inference.handover import Handover
from inference.inputs import load_lora, load_start
from inference.lora_cache import LoraCache
from inference.metrics import WorkerMetrics
from inference.model import DeviceError, Generation, Progress, Stage, VideoModel
from inference.observation import AttemptObservation, attempt_span, note_outcome
from inference.outcome import end_attempt
from inference.profiles import EXACT
from inference.progress import AttemptProgress
from inference.render import FrameDoubler, Rendered, encode_clip, generate_clip
from inference.storing import remove_orphan, store_video
from inference.translation import generation_of, model_version, video_output, waited_s
from jobs import failpoints
from jobs.broker import Broker
from jobs.control import answer_controls
from jobs.deliveries import Deliveries
from jobs.dispatch import Dispatcher
from jobs.errors import StreamEndedError
from jobs.lease import Lease
from jobs.pauses import PauseDirectory
from jobs.record_pb2 import Output, Worker
from jobs.set_up import until_set_up
from jobs.tasks import end_task

FINISHING_AT_ONCE = 2  # beyond that the device waits: frames take memory, and storing is slower than making them

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker process needs to know.

    `incarnation` is the random id of this run and `name` what people see; `endpoints` are served in turn. After
    `drain` a running request has `grace_s` seconds to finish before it is handed back. The rest is what it says of
    itself to operators: its device (`cuda:N`, `cpu` or `simulated`) with its memory, when the process began, and the
    program's version.
    """

    incarnation: str
    name: str
    endpoints: tuple[str, ...]
    grace_s: float = 30.0
    device: str = "simulated"
    device_memory_bytes: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: str = ""


class DeviceLostError(Exception):
    """The device failed: this process must be replaced."""


class VideoWorker:
    """Serves requests with one model until drained or until its device is lost.

    `on_leases` is told the reply subjects of the deliveries that are worked on, whenever they change, so that a
    supervisor can hand them back should this process die. `metrics` are filled with what happens. `remote` fetches what
    requests name by URL; left out, from the public internet alone. Of LoRAs up to `lora_cache_bytes` are kept for
    requests that name them again.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        broker: Broker,
        store: ObjectStore,
        model: VideoModel,
        doubler: FrameDoubler,
        *,
        on_leases: Callable[[list[str]], None] = lambda _: None,
        metrics: WorkerMetrics | None = None,
        remote: RemoteFiles | None = None,
        lora_cache_bytes: int = 0,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._store = store
        self._remote = remote or RemoteFiles(FetchSettings(), own_urls=OwnUrls(store.bucket))
        self._loras = LoraCache(lora_cache_bytes)
        self._model = model
        self._doubler = doubler
        self._on_leases = on_leases
        self._metrics = metrics or WorkerMetrics()
        self._replies: list[str] = []
        self._on_device = ""
        self._draining = asyncio.Event()
        self._out_of_time = False
        self._ended = False
        self._device_lost: DeviceError | None = None

    def drain(self) -> None:
        """Take no further request; finish or hand back the one that runs, then end."""
        self._draining.set()

    def describe(self) -> admin_pb2.Worker:
        """What this worker is and what its device works on, for operators."""
        settings = self._settings
        described = admin_pb2.Worker(
            name=settings.name,
            incarnation=settings.incarnation,
            device=settings.device,
            device_memory_bytes=settings.device_memory_bytes,
            endpoints=settings.endpoints,
            model=model_version(self._model.identity),
            request_id=self._on_device,
            version=settings.version,
            draining=self._draining.is_set(),
        )
        described.started.FromDatetime(settings.started)
        return described

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until drained; before that, wait until a service has set the queue up.

        Raises:
            DeviceLostError: the device failed; the request that it failed in has been handed back.
            NotAllowedError: NATS does not let us take part.
            BrokerUnavailableError: NATS does not answer.
            StreamEndedError: it cannot be told any more what is paused, as when the queue was set up anew.
        """
        settings = self._settings
        if not await self._set_up():
            return
        pauses = PauseDirectory(self._broker)
        self._broker.metrics.expect(settings.endpoints)
        worker = Worker(incarnation=settings.incarnation, name=settings.name)
        async with (
            pauses,
            Deliveries(self._broker, settings.endpoints, paused=pauses.paused) as deliveries,
            Dispatcher(self._broker, deliveries, worker) as dispatcher,
        ):
            pauses.on_change = deliveries.wake
            with ThreadPoolExecutor(1, thread_name_prefix="device") as device:
                async with answer_controls(
                    self._broker,
                    settings.incarnation,
                    holds=dispatcher.holds,
                    on_cancel=dispatcher.cancel,
                    describe=self.describe,
                ):
                    await self._broker.check_subscriptions()
                    on_ready()
                    _log.info("worker.ready", worker=settings.name, model=self._model.identity.name)
                    serving = asyncio.create_task(self._serve_all(dispatcher, device), name="serving")
                    draining = asyncio.create_task(self._draining.wait(), name="draining")
                    lost = asyncio.create_task(pauses.until_ended(), name="pauses")
                    await asyncio.wait({serving, draining, lost}, return_when=asyncio.FIRST_COMPLETED)
                    deliveries.close()
                    await self._finish(serving)
                    draining.cancel()
                    if lost.done():
                        raise StreamEndedError("pauses can be followed no more; start again")
                    lost.cancel()

    async def _set_up(self) -> bool:
        """Wait until the queue is there; False if drained before that."""
        waiting = asyncio.create_task(until_set_up(self._broker, self._settings.endpoints), name="set-up")
        draining = asyncio.create_task(self._draining.wait(), name="draining")
        await asyncio.wait({waiting, draining}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        if not waiting.done():
            await end_task(waiting)
            return False
        waiting.result()
        return True

    async def _finish(self, serving: asyncio.Task[None]) -> None:
        """Let the running request finish within the grace time, or else hand it back; then end."""
        await asyncio.wait({serving}, timeout=self._settings.grace_s)
        self._out_of_time = True  # the device's thread sees it at its next step
        await serving

    async def _serve_all(self, dispatcher: Dispatcher, device: ThreadPoolExecutor) -> None:
        """Take the next request whenever the device falls free, while earlier ones are encoded and stored."""
        under_way = asyncio.Semaphore(1 + FINISHING_AT_ONCE)
        attempts: set[asyncio.Task[None]] = set()
        while not self._ended and self._device_lost is None:
            await under_way.acquire()
            device_free = asyncio.Event()
            attempt = asyncio.create_task(self._attempt(dispatcher, device, device_free), name="attempt")
            attempt.add_done_callback(lambda _: under_way.release())
            attempts.add(attempt)
            await device_free.wait()
            for ended in [task for task in attempts if task.done()]:
                attempts.discard(ended)
                ended.result()
        if attempts:
            await asyncio.wait(attempts)
        for ended in attempts:
            ended.result()
        if self._device_lost is not None:
            raise DeviceLostError(str(self._device_lost)) from self._device_lost

    async def _attempt(self, dispatcher: Dispatcher, device: ThreadPoolExecutor, device_free: asyncio.Event) -> None:
        """Lease one request and see it through; sets `device_free` as soon as it needs the device no more."""
        try:
            async with dispatcher.next() as lease:
                if lease is None:
                    self._ended = True
                    return
                self._replies.append(lease.delivery.reply)
                self._on_leases(list(self._replies))
                with attempt_span(lease.record, self._model.identity, self._settings.name):
                    await self._serve(lease, device, device_free)
            self._replies.remove(lease.delivery.reply)
            self._on_leases(list(self._replies))
        finally:
            device_free.set()

    async def _serve(self, lease: Lease, device: ThreadPoolExecutor, device_free: asyncio.Event) -> None:
        """Run one attempt to its outcome."""
        failpoints.reach(failpoints.ATTEMPT_CLAIMED)
        _log.info("attempt.started", endpoint=lease.record.endpoint)
        identity = self._model.identity
        profile = "" if identity.profile == EXACT.name else f", {identity.profile}"
        lease.log.line(
            f"Attempt {lease.record.attempt} on {self._settings.name} with {identity.name} at {identity.revision}"
            f"{profile}.",
            queue_pb2.LOG_LEVEL_INFO,
        )
        try:
            with AttemptObservation(lease.record, self._metrics) as observation:
                wanted = partial(self._is_wanted, lease)
                progress = AttemptProgress(lease.log, asyncio.get_running_loop(), wanted, observation)
                output = await self._make(lease, device, device_free, progress)
            if await lease.complete(output):
                note_outcome("completed")
                _log.info("attempt.completed", seconds=round(output.video.timings.total.ToMilliseconds() / 1000, 3))
            else:
                note_outcome("superseded")
                _log.info("attempt.superseded")
                await remove_orphan(self._store, output.object_key)
        except Exception as error:  # noqa: BLE001 - whatever went wrong ends this attempt, not the worker
            if isinstance(error, DeviceError):
                self._device_lost = error
            device_free.set()
            await end_attempt(lease, error)

    def _is_wanted(self, lease: Lease) -> bool:
        return not (lease.lost.is_set() or self._out_of_time)

    async def _make(
        self, lease: Lease, device: ThreadPoolExecutor, device_free: asyncio.Event, progress: AttemptProgress
    ) -> Output:
        record = lease.record
        file_name = f"{record.request_id}.mp4"
        # By the place in the queue: a request that is submitted anew after its erasure has its id, and its own videos.
        key = video_key(record.tenant, record.request_id, record.attempt, f"{record.queued_seq}.mp4")
        with tempfile.TemporaryDirectory(prefix="cogreel-") as folder:
            path = Path(folder) / file_name
            files = self._store, self._remote, record.submission
            start = await load_start(*files, progress)
            lora = await load_lora(*files, progress, folder=Path(folder), cache=self._loras)
            generation = generation_of(record.submission, start, lora)
            # In a copy of this context, so that what the device's thread logs and traces names the attempt.
            in_context, run = contextvars.copy_context().run, asyncio.get_running_loop().run_in_executor
            generate = partial(in_context, generate_clip, self._model, self._doubler, generation, progress)
            with self._has_device(record.request_id):
                clip = await run(device, generate)
                handover = Handover(clip)
                pumping = run(device, partial(in_context, handover.pump))
                encoding = asyncio.create_task(asyncio.to_thread(_encode, handover, generation, path, progress))
                # Looked at here as well: the encoder may fail by itself before it comes to that.
                if isinstance(failure := await pumping, DeviceError):
                    self._device_lost = failure
            device_free.set()
            rendered = await encoding
            with progress.stage(Stage.UPLOAD):
                await store_video(self._store, key, path, file_name, progress=progress, metrics=self._metrics)
        failpoints.reach(failpoints.ATTEMPT_UPLOADED)
        timings = progress.timings(queue_s=waited_s(record))
        video = video_output(generation, rendered, self._model.identity, timings)
        # Not by way of `progress`, which may say that it is not wanted any more: what is stored is worth finishing.
        lease.log.line(
            f"Stored {video.frames} frames of {video.size.width} x {video.size.height} at {video.fps} a second, "
            f"{video.video.file_size} bytes, seed {video.seed}.",
            queue_pb2.LOG_LEVEL_INFO,
        )
        return Output(object_key=key, video=video)

    @contextmanager
    def _has_device(self, request_id: str) -> Iterator[None]:
        self._on_device = request_id
        try:
            with self._metrics.busy():
                yield
        finally:
            self._on_device = ""


def _encode(handover: Handover, generation: Generation, path: Path, progress: Progress) -> Rendered:
    with handover.received() as clip:
        return encode_clip(clip, generation, path, progress)
