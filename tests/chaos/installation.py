"""A whole installation as processes: engines, service replicas, and supervisors that each keep one simulated device.

Everything that dies is started again by itself, as an operator's supervisor would. What a process is started with next
can be given failpoints, and of which release it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil
from google.protobuf import json_format
from pydantic import SecretStr

from files import ObjectStore
from host.children import ChildSpec, KeptChild, RestartBackoff
from host.engines import EmbeddedS3
from host.engines.ports import choose_ports
from host.settings import Settings
from jobs.broker import Broker, BrokerSettings
from jobs.cards import load_card
from jobs.keys import create_key
from jobs.streams import ensure_consumers, ensure_streams
from tests.brokers import NAMES, OneNats, ThreeNats, servers_in

ENDPOINT = "chaos/video"
TENANT = "chaos"
FRAMES = 9  # the shortest clip of the model that is imitated
RESTARTS = RestartBackoff(first_s=0.2, max_s=1.0)

Role = Literal["service", "device", "supervisor", "broker", "store"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything there is, and for how long ended requests are kept, in seconds.

    There is one worker for each step time, in seconds.
    """

    brokers: Literal[1, 3] = 1
    services: int = 2
    step_s: tuple[float, ...] = (0.02, 0.03, 0.1)
    retention_s: float = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Release:
    """A source tree whose programs can be run. `before` is whether its Python packages go before those installed."""

    folder: Path
    before: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """What lets a program find the packages of this tree first, the client's among them."""
        return {"PYTHONPATH": os.pathsep.join(map(str, (self.folder, self.folder / "client")))} if self.before else {}


THIS_RELEASE = Release(Path(__file__).resolve().parents[2], before=False)


class KeptProcess:
    """One of our own programs, kept running.

    `failpoints` is what its next run gets as COGREEL_FAILPOINTS, and `release` whose code that run is.
    """

    def __init__(self, name: str, command: str, settings: Settings, logs: Path, release: Release) -> None:
        self.name = name
        self.settings = settings
        self.failpoints = ""
        self.release = release
        self._command = command
        self._log_path = logs / f"{name}.log"
        self.kept = KeptChild(self._next_run, backoff=RESTARTS)

    def _next_run(self) -> ChildSpec:
        environment = self.settings.environment()
        return ChildSpec(
            name=self.name,
            argv=(sys.executable, "-m", "host.cli", self._command),
            log_path=self._log_path,
            env=environment | self.release.environment | {"COGREEL_FAILPOINTS": self.failpoints},
            cwd=self.release.folder,
        )

    @property
    def process(self) -> psutil.Process | None:
        """The present run; None between two."""
        return _process(self.kept.pid)

    @property
    def device(self) -> psutil.Process | None:
        """The process of a supervisor's device; None while there is none."""
        try:
            children = self.process.children() if self.process is not None else []
            return next((child for child in children if "host.device_process" in child.cmdline()), None)
        except psutil.NoSuchProcess:
            return None


class Installation:
    """All processes, as an async context manager. `store` reads the bucket; `api_key` is its caller's."""

    def __init__(self, folder: Path, shape: Shape, release: Release = THIS_RELEASE) -> None:
        self.folder = folder
        self.shape = shape
        self.release = release
        self.services: list[KeptProcess] = []
        self.workers: list[KeptProcess] = []
        self.api_key = ""
        self.nats_url = ""
        self._nats: OneNats | ThreeNats | None = None
        self._s3 = EmbeddedS3(folder)
        self._stack = AsyncExitStack()
        self._store: ObjectStore | None = None
        self._common = Settings()

    @property
    def store(self) -> ObjectStore:
        """The bucket."""
        assert self._store is not None
        return self._store

    @property
    def broker_settings(self) -> BrokerSettings:
        """How to reach the broker."""
        assert self._nats is not None
        return self._nats.settings(name="campaign")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._nats = servers_in(self.folder, self.shape.brokers)
            await stack.enter_async_context(self._nats)
            await stack.enter_async_context(self._s3)
            self.nats_url = self._nats.url
            settings = self._settings()
            self._store = ObjectStore(settings.store())
            await self._store.ensure_bucket()
            self._common = settings
            self.api_key = await self.prepare()
            ports = choose_ports([f"service-{number}" for number in range(self.shape.services)])
            for name, port in ports.items():
                listening = settings.model_copy(update={"listen": f"127.0.0.1:{port}"})
                service = KeptProcess(name, "serve", listening, self.folder / "logs", self.release)
                self.services.append(service)
                await stack.enter_async_context(service.kept)
            self._stack = stack.pop_all()
        try:
            for step_s in self.shape.step_s:
                await self.add_worker(step_s)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def prepare(self) -> str:
        """Set up the broker before any process runs; returns a caller's key."""
        async with Broker(self.broker_settings) as broker:
            await ensure_streams(broker)
            await ensure_consumers(broker, [ENDPOINT])
            _, api_key = await create_key(broker, TENANT)
        return api_key

    async def add_worker(self, step_s: float, *, failpoints: str = "") -> KeptProcess:
        """Start one more supervisor, whose device sleeps `step_s` seconds a step."""
        name = f"worker-{len(self.workers)}"
        own = {"worker_name": name, "simulated_step_s": step_s}
        settings = self._common.model_copy(update=own)
        worker = KeptProcess(name, "worker", settings, self.folder / "logs", self.release)
        worker.failpoints = failpoints
        await self._stack.enter_async_context(worker.kept)
        self.workers.append(worker)
        return worker

    def _settings(self) -> Settings:
        card = load_card("simulated")
        card.frames = FRAMES
        path = self.folder / "card.json"
        path.write_text(json.dumps(json_format.MessageToDict(card, preserving_proto_field_name=True)))
        return Settings(
            nats_url=SecretStr(self.nats_url),
            nats_replicas=self.shape.brokers,
            s3_endpoint=self._s3.endpoint,
            s3_access_key=self._s3.access_key,
            s3_secret_key=SecretStr(self._s3.secret_key),
            s3_bucket="chaos",
            endpoints={ENDPOINT: str(path)},
            retention_s=self.shape.retention_s,
            checkpoint_s=1.0,
            shutdown_grace_s=1.0,
            devices="simulated",
            worker_grace_s=1.0,
            fetch_allow="127.0.0.1",  # where the receivers of webhooks are
            log_format="json",
            log_level="info",
        )

    def find(self, role: Role, index: int) -> tuple[str, Callable[[], psutil.Process | None]]:
        """The name of the `index`-th process of a role (counted round), and a look at its present run."""
        match role:
            case "service":
                service = self.services[index % len(self.services)]
                return service.name, lambda: service.process
            case "supervisor":
                worker = self.workers[index % len(self.workers)]
                return worker.name, lambda: worker.process
            case "device":
                worker = self.workers[index % len(self.workers)]
                return f"{worker.name}/simulated", lambda: worker.device
            case "store":
                return "store", lambda: _process(self._s3.pid)
            case "broker":
                return self._broker(index)

    def _broker(self, index: int) -> tuple[str, Callable[[], psutil.Process | None]]:
        nats = self._nats
        if isinstance(nats, OneNats):
            return "broker", lambda: _process(next(iter(nats.pids()), None))
        name = NAMES[index % len(NAMES)]
        return name, lambda: _child_with_argument(str(self.folder / f"{name}.conf"))

    async def broker_leader(self) -> int:
        """The index of the broker that leads the stream of requests.

        Raises:
            BrokerUnavailableError: there is none at the moment.
        """
        return NAMES.index(await self._nats.leader()) if isinstance(self._nats, ThreeNats) else 0


def _process(pid: int | None) -> psutil.Process | None:
    try:
        return psutil.Process(pid) if pid is not None else None
    except psutil.NoSuchProcess:
        return None


def _child_with_argument(argument: str) -> psutil.Process | None:
    for child in psutil.Process().children():
        try:
            if argument in child.cmdline():
                return child
        except psutil.NoSuchProcess:
            continue
    return None
