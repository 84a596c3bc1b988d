"""The process of one device: loads the model, then works off requests. Its supervisor starts it; nobody else does.

It reports to the supervisor by lines on a pipe, whose file descriptor stands in COGREEL_REPORT_FD.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata

import structlog
from minio.error import S3Error
from prometheus_client import CollectorRegistry

from files import ObjectStore, StoreUnavailableError
from files.own_urls import OwnUrls
from files.remote import RemoteFiles
from host.logs import configure_logs
from host.metrics import take_part
from host.settings import Settings, read_settings
from host.signals import stop_event
from host.tracing import traced
from inference.device_memory import device_memory_bytes
from inference.loading import ModelSettings, load
from inference.metrics import WorkerMetrics
from inference.model import DeviceError, VideoModel
from inference.model_choice import CardMismatchError, card_for, model_location, model_name, model_of
from inference.render import FrameDoubler
from inference.rife import RifeWeightsError
from inference.supervisor import leases_report, ready_report
from inference.weights import ModelLoadError
from inference.worker import DeviceLostError, VideoWorker, WorkerSettings
from jobs.broker import Broker
from jobs.cards import CardError, kind_of
from jobs.errors import BrokerUnavailableError, StreamEndedError
from jobs.metrics import QueueMetrics

MISCONFIGURED = 78  # EX_CONFIG of sysexits.h
Loaded = tuple[VideoModel, FrameDoubler, tuple[str, ...]]
DEVICE_LOST = 70  # EX_SOFTWARE
SWITCH_INTERVAL_S = 0.0005  # 5 ms by default, for which a thread that prepares or encodes frames can hold up the loop
STARTED = datetime.now(UTC)
SAMPLE_EVERY_S = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessMetrics:
    """What this process counts, of its device and of the queue."""

    worker: WorkerMetrics
    queue: QueueMetrics


class Reports:
    """The pipe to the supervisor; without one, nothing is reported."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        given = environment.get("COGREEL_REPORT_FD")
        self._descriptor = int(given) if given else None

    def send(self, line: str) -> None:
        """Write a line. A supervisor that is gone takes this process with it, so a broken pipe means nothing."""
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, f"{line}\n".encode())
            except BrokenPipeError:
                self._descriptor = None


def load_model(settings: Settings, device: str) -> Loaded:
    """Load the model of these settings onto a device, and find the endpoints whose cards are for it.

    Raises:
        CardMismatchError: no endpoint's card is for this model, and for what it makes videos from.
        CardError, ModelLoadError, DeviceError, RifeWeightsError: something is missing or does not fit.
    """
    cards = settings.cards()
    card = card_for(model_name(settings.model, device), cards.values())
    wanted = ModelSettings(
        device=device,
        model=model_location(settings.model),
        rife_directory=settings.rife_directory.expanduser(),
        simulated_step_s=settings.simulated_step_s,
        cpu_threads=settings.cpu_threads,
        profile=settings.speed_profile(),
        offload=settings.offload,
    )
    video_model, doubler = load(wanted, card)
    fitting = {name: served for name, served in cards.items() if model_of(served) == model_of(card)}
    endpoints = tuple(name for name, served in fitting.items() if kind_of(served) in video_model.input_kinds)
    if not endpoints:
        kinds = ", ".join(sorted(video_model.input_kinds))
        raise CardMismatchError(f"{card.name} takes {kinds}, but its card is for {kind_of(card)}")
    return video_model, doubler, endpoints


async def work(
    settings: Settings,
    incarnation: str,
    device: str,
    loaded: Loaded,
    reports: Reports,
    *,
    name: str,
    metrics: ProcessMetrics,
) -> None:
    """Work off requests until SIGTERM.

    Raises:
        DeviceLostError: the device failed.
        BrokerUnavailableError, StoreUnavailableError: an engine cannot be reached.
    """
    stopped = stop_event()
    model, doubler, endpoints = loaded
    async with Broker(settings.broker(f"worker {device}"), metrics.queue) as broker:
        store = ObjectStore(settings.store())
        await store.ensure_bucket()
        metrics.worker.store_answered(up=True)
        worker = VideoWorker(
            WorkerSettings(
                incarnation=incarnation,
                name=name,
                endpoints=endpoints,
                grace_s=settings.worker_grace_s,
                device=device,
                device_memory_bytes=device_memory_bytes(device),
                started=STARTED,
                version=metadata.version("cogreel-server"),
            ),
            broker,
            store,
            model,
            doubler,
            on_leases=lambda replies: reports.send(leases_report(replies)),
            metrics=metrics.worker,
            remote=RemoteFiles(settings.fetching(), own_urls=OwnUrls(store.bucket)),
            lora_cache_bytes=settings.lora_cache_bytes,
        )

        async def drain_when_stopped() -> None:
            await stopped.wait()
            worker.drain()

        async def sample() -> None:
            while True:
                metrics.worker.sample(broker_up=broker.connected)
                await asyncio.sleep(SAMPLE_EVERY_S)

        beside = [asyncio.create_task(drain_when_stopped()), asyncio.create_task(sample())]
        try:
            await worker.run(on_ready=lambda: reports.send(ready_report()))
        finally:
            for task in beside:
                task.cancel()


def main() -> int:
    """Run the process; returns its exit status."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    settings = read_settings()
    configure_logs(settings.log_format, settings.log_level)
    device = os.environ["COGREEL_DEVICE"]
    structlog.contextvars.bind_contextvars(device=device)
    place, registry = take_part(os.environ), CollectorRegistry()
    metrics = ProcessMetrics(WorkerMetrics(registry, worker=place, device=device), QueueMetrics(registry))
    try:
        loaded = load_model(settings, device)
        incarnation = os.environ["COGREEL_INCARNATION"]
        name = f"{settings.worker_name}/{os.environ.get('COGREEL_DEVICE_NAME', device)}"
        with traced("worker", f"{name}/{incarnation}"):
            asyncio.run(work(settings, incarnation, device, loaded, Reports(os.environ), name=name, metrics=metrics))
    except (CardError, CardMismatchError, ModelLoadError, RifeWeightsError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - what an operator reads first
        return MISCONFIGURED
    except S3Error as error:
        print(f"error: the object store refused: {error.code}, {error.message}", file=sys.stderr)  # noqa: T201 - as above
        return MISCONFIGURED
    except (DeviceError, DeviceLostError, BrokerUnavailableError, StoreUnavailableError, StreamEndedError) as error:
        _log.error("worker.stopped", cause=str(error))
        return DEVICE_LOST
    return 0


if __name__ == "__main__":
    sys.exit(main())
