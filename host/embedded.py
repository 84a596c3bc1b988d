"""The whole service in one process tree on one machine: engines, gRPC server and workers, as `cogreeld up` runs it.

The engines are the ones of a cluster, on loopback, with credentials of their own that are kept in the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from cogreel.v1.admin_pb2 import ROLE_ADMIN
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from files import ObjectStore
from host.children import ChildSpec, KeptChild
from host.devices import ensure_devices
from host.embedded_gateway import HTTP_PORT, embedded_gateway
from host.engines import EmbeddedNats, EmbeddedS3
from host.engines.errors import PortInUseError
from host.engines.ports import choose_ports, is_free
from host.installation import READY_FILE
from host.metrics import Address, pool_metrics
from host.settings import HOSTED_ENDPOINT, Settings, read_settings
from host.worker_pool import WorkerPool
from inference.model_choice import SIMULATED, SMALL, SMALL_I2V
from inference.rife import RifeWeightsError, fetch_rife_weights, find_rife_weights
from inference.small_model import SMALL_I2V_NAME
from jobs.broker import Broker
from jobs.keys import create_key, list_keys
from jobs.streams import ensure_consumers, ensure_streams
from service.server import QUEUE_SERVICE

TENANT = "default"
SIMULATED_ENDPOINTS = {
    HOSTED_ENDPOINT: "simulated",
    f"{HOSTED_ENDPOINT}/image-to-video": "simulated-image-to-video",
    f"{HOSTED_ENDPOINT}/video-to-video": "simulated-video-to-video",
}
SMALL_ENDPOINTS = {
    HOSTED_ENDPOINT: "cogreel-small",
    f"{HOSTED_ENDPOINT}/image-to-video": "cogreel-small-image-to-video",
    f"{HOSTED_ENDPOINT}/video-to-video": "cogreel-small-video-to-video",
}
SERVICE_READY_S = 30.0
HEALTH_EVERY_S = 0.05
WATCH_PIDS_EVERY_S = 0.5

Say = Callable[[str], None]


class DataDirError(ValueError):
    """The data directory cannot be made."""


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """What `cogreeld up` is asked for. `port` 0 means any free one; what is None means what fits here."""

    data_dir: Path
    port: int = 50051
    model: str | None = None
    devices: str | None = None
    ready_file: Path | None = None
    http_port: int | None = None
    """0 means any free one; None the usual one, or any where `port` may be any."""
    https: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """What runs, and how to reach it."""

    grpc: str
    http: str
    s3: str
    nats: str
    api_key: str
    data_dir: Path
    pids: Callable[[], dict[str, int]]
    wait: Callable[[], asyncio.Future[None]]
    metrics: dict[str, str]
    """URLs of the metrics of the service, the workers and the gateway, if they are served."""
    authority: Path | None
    """PEM of the development authority that callers over HTTPS must trust, if one was asked for."""

    def as_json(self) -> str:
        """The content of the ready file."""
        return json.dumps(
            {
                "grpc": self.grpc,
                "http": self.http,
                "s3": self.s3,
                "nats": self.nats,
                "api_key": self.api_key,
                "data_dir": str(self.data_dir),
                "metrics": self.metrics,
                "pids": self.pids(),
            },
            indent=2,
        )


def devices_here() -> str:
    """The devices of this machine: each NVIDIA GPU, or else the CPU."""
    gpus = sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return ",".join(f"cuda:{index}" for index in range(len(gpus))) or "cpu"


def settings_for(options: EmbeddedOptions) -> Settings:
    """The settings of the tree, but for what the engines choose; the environment's settings go first.

    Raises:
        ValueError: the devices do not go together.
    """
    base = read_settings()
    devices = options.devices or (base.devices if "devices" in base.model_fields_set else devices_here())
    kinds = {device.strip().partition(":")[0] for device in devices.split(",")}
    if len(kinds) > 1:
        raise ValueError(f"the devices {devices} do not serve one model: use one kind of device")
    chosen = options.model or (base.model if "model" in base.model_fields_set else None)
    model = chosen or (base.model if kinds == {"cuda"} else SMALL)
    changes: dict[str, object] = {"devices": devices, "model": model}
    if "endpoints" not in base.model_fields_set:
        changes["endpoints"] = SIMULATED_ENDPOINTS if kinds == {"simulated"} else _endpoints_of(model)
    if "worker_grace_s" not in base.model_fields_set:
        changes["worker_grace_s"] = 3.0  # whoever presses Ctrl-C does not want to wait; the request is not lost
    return base.model_copy(update=changes)


def _endpoints_of(model: str) -> dict[str, str]:
    own = Path(model).expanduser() / "cogreel-card.json"
    if own.is_file():
        return {HOSTED_ENDPOINT: str(own)}
    return SMALL_ENDPOINTS if model == SMALL else Settings.model_fields["endpoints"].default


def _models(settings: Settings) -> list[str]:
    """What the workers load: of the small model the variant for pictures too, if an endpoint is for it."""
    wanted = {card.name for card in settings.cards().values()}
    variant = [SMALL_I2V] if settings.model == SMALL and SMALL_I2V_NAME in wanted else []
    return [settings.model, *variant]


@asynccontextmanager
async def embedded(options: EmbeddedOptions, settings: Settings, say: Say) -> AsyncIterator[Running]:
    """Run everything while the block lasts. `say` is told what is being waited for.

    Raises:
        DevicesError: a device is misnamed, or not there.
        DataDirError: the data directory cannot be made.
        EngineMissingError, DataDirInUseError, PortInUseError, ChildFailedError: a process cannot start.
        RifeWeightsError: the weights of RIFE cannot be fetched.
    """
    data_dir = options.data_dir.expanduser().absolute()
    await ensure_devices(settings)
    _make_private(data_dir)
    logs = data_dir / "logs"
    async with AsyncExitStack() as stack:
        simulated = SIMULATED in settings.device_list()
        if not simulated:
            await asyncio.to_thread(_ensure_rife_weights, settings, say)
        say("starting nats-server and the S3 server")
        nats, s3 = EmbeddedNats(data_dir), EmbeddedS3(data_dir)
        await stack.enter_async_context(nats)
        await stack.enter_async_context(s3)
        own_ready_file = data_dir / READY_FILE
        own_ready_file.unlink(missing_ok=True)  # of one that was killed
        port = _grpc_port(options.port)
        service_metrics, workers_metrics, gateway_metrics = _metrics_addresses(settings.metrics_listen)
        settings = settings.model_copy(
            update={
                "nats_url": SecretStr(nats.url),
                "s3_endpoint": s3.endpoint,
                "s3_access_key": s3.access_key,
                "s3_secret_key": SecretStr(s3.secret_key),
                "listen": f"127.0.0.1:{port}",
                "metrics_listen": str(service_metrics or ""),
                "log_format": "json" if settings.log_format == "auto" else settings.log_format,
            }
        )
        broker = await stack.enter_async_context(Broker(settings.broker("up")))
        await ensure_streams(broker)
        await ensure_consumers(broker, settings.endpoints)
        await ObjectStore(settings.store()).ensure_bucket()
        api_key = await _api_key(broker, data_dir)
        service = KeptChild(
            ChildSpec(
                name="service",
                argv=(sys.executable, "-m", "host.cli", "serve"),
                log_path=logs / "service.log",
                env=settings.environment(),
                stop_timeout_s=settings.shutdown_grace_s + 5,
            ),
            ready=lambda _child: _until_healthy(settings.listen),
            ready_timeout_s=SERVICE_READY_S,
        )
        say("starting the service and the gateway")
        await stack.enter_async_context(service)
        http_port = options.http_port if options.http_port is not None else HTTP_PORT if options.port else 0
        gateway = embedded_gateway(
            settings, data_dir, port=http_port, https=options.https, metrics_listen=str(gateway_metrics or "")
        )
        await stack.enter_async_context(gateway.child)
        say(f"loading the model {SIMULATED if simulated else settings.model}")
        metrics = stack.enter_context(pool_metrics(workers_metrics))
        pool = await stack.enter_async_context(
            WorkerPool(settings, broker, models=_models(settings), metrics=metrics, logs=logs)
        )

        def pids() -> dict[str, int]:
            own = {
                "up": os.getpid(),
                "nats": nats.pid,
                "s3": s3.pid,
                "service": service.pid,
                "gateway": gateway.child.pid,
            }
            return {name: pid for name, pid in own.items() if pid is not None} | pool.pids

        async def wait() -> None:
            async with asyncio.TaskGroup() as group:
                for kept in (nats, s3, service, gateway.child, pool):
                    group.create_task(kept.wait())

        running = Running(
            grpc=settings.listen,
            http=gateway.url,
            s3=f"http://{s3.endpoint}",
            nats=nats.url,
            api_key=api_key,
            data_dir=data_dir,
            pids=pids,
            wait=lambda: asyncio.ensure_future(wait()),
            metrics={"service": service_metrics.url, "workers": metrics.url, "gateway": gateway_metrics.url}
            if service_metrics and metrics.url and gateway_metrics
            else {},
            authority=gateway.tls.authority if gateway.tls is not None else None,
        )
        for path in dict.fromkeys((own_ready_file, (options.ready_file or own_ready_file).absolute())):
            await stack.enter_async_context(_ready_file(path, running))
        yield running


def _make_private(data_dir: Path) -> None:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno is not None else str(error)
        raise DataDirError(
            f"the data directory {data_dir} cannot be made ({why}); choose another with --data-dir"
        ) from error


def _ensure_rife_weights(settings: Settings, say: Say) -> None:
    directory = settings.rife_directory.expanduser()
    try:
        find_rife_weights(directory)
    except RifeWeightsError:
        say("fetching the weights of RIFE (20 MB, once)")
        fetch_rife_weights(directory)


def _grpc_port(asked: int) -> int:
    if asked == 0:
        return choose_ports(["grpc"])["grpc"]
    if not is_free(asked):
        raise PortInUseError(asked)
    return asked


def _metrics_addresses(listen: str) -> tuple[Address | None, Address | None, Address | None]:
    """Where service, workers and gateway serve their metrics: the address that was asked for, and the next ports."""
    asked = Address.parse(listen)
    if asked is None:
        return None, None, None
    own = choose_ports(["service", "workers", "gateway"])
    ports = [asked.port + place if asked.port else port for place, port in enumerate(own.values())]
    return Address(asked.host, ports[0]), Address(asked.host, ports[1]), Address(asked.host, ports[2])


async def _api_key(broker: Broker, data_dir: Path) -> str:
    """The key of this machine's user: made once, kept in the data directory with mode 0600."""
    path = data_dir / "api-key"
    if path.is_file():
        text = path.read_text(encoding="utf-8").strip()
        known = {key.key_id for key in await list_keys(broker) if not key.HasField("revoked")}
        if text.partition(":")[0] in known:
            return text
    _, text = await create_key(broker, TENANT, role=ROLE_ADMIN)
    _write_private(path, f"{text}\n")
    return text


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)


async def _until_healthy(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                question = health_pb2.HealthCheckRequest(service=QUEUE_SERVICE)
                answer = await stub.Check(question, timeout=2)  # type: ignore[attr-defined]  # its stubs lack it
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(HEALTH_EVERY_S)


@asynccontextmanager
async def _ready_file(path: Path, running: Running) -> AsyncIterator[None]:
    """Keep the ready file while the block lasts, and current when a process is restarted."""

    async def keep_current() -> None:
        written = ""
        while True:
            text = running.as_json()
            if text != written:
                _write_private(path, f"{text}\n")
                written = text
            await asyncio.sleep(WATCH_PIDS_EVERY_S)

    keeper = asyncio.create_task(keep_current(), name="ready file")
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.to_thread(path.unlink, missing_ok=True)
