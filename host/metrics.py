"""Handing metrics to Prometheus: one small HTTP server a process tree, and the files by which workers take part.

A worker process lives shorter than what it counts. So its counters live in files of its own, one set for each place in
the pool, which its successor opens again: a counter never goes backwards while the supervisor runs, and what was
counted just before a crash is not lost. The supervisor reads all of them whenever Prometheus asks.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

PATH = "/metrics"
_FILES = "PROMETHEUS_MULTIPROC_DIR"  # the client library's own name
_WORKER = "COGREEL_WORKER"

_log = structlog.get_logger(__name__)


class MetricsAddressError(ValueError):
    """The address for metrics is not host:port."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where metrics are served."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """From host:port, port 0 for any free one; None from an empty text, which means nowhere.

        Raises:
            MetricsAddressError: it is neither.
        """
        if not text:
            return None
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise MetricsAddressError(f"COGREEL_METRICS_LISTEN must be host:port, such as 127.0.0.1:9464, not {text!r}")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """What Prometheus scrapes."""
        return f"http://{self}{PATH}"


def process_registry() -> CollectorRegistry:
    """A registry that tells which program this is, and what its process takes of the machine."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Info("cogreel_build", "The version that runs.", registry=registry)
    build.info({"version": version("cogreel-server"), "python": platform.python_version()})
    return registry


@contextmanager
def metrics_served(address: Address | None, registry: CollectorRegistry) -> Iterator[str | None]:
    """Serve a registry for the length of the block, if there is an address; gives the URL.

    Raises:
        OSError: the address cannot be listened on.
    """
    if address is None:
        yield None
        return
    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise OSError(f"cannot serve metrics on {address}: {error.strerror or error}") from error
    url = Address(address.host, server.server_port).url
    _log.info("metrics.listening", url=url)
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class PoolMetrics:
    """What all workers of a pool count, in an empty `folder`, and the pool itself; without a folder, the pool alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self.registry = process_registry()
        self.url: str | None = None
        """Where they are served."""
        self._folder = folder
        if folder is not None:
            MultiProcessCollector(self.registry, path=str(folder))  # type: ignore[no-untyped-call]
        labels = ["worker", "device"]
        self._up = Gauge("cogreel_worker_up", "Whether the worker is ready to serve.", labels, registry=self.registry)
        self._restarts = Counter(
            "cogreel_worker_restarts_total",
            "Worker processes that ended by themselves.",
            labels,
            registry=self.registry,
        )

    def environment(self, worker: str) -> Mapping[str, str]:
        """What a worker process finds in its environment, in order to take part."""
        return {_WORKER: worker} | ({_FILES: str(self._folder)} if self._folder is not None else {})

    def starting(self, worker: str, device: str) -> None:
        """A worker process is being started."""
        self._up.labels(worker, device).set(0)
        self._restarts.labels(worker, device).inc(0)

    def ready(self, worker: str, device: str) -> None:
        """A worker is ready."""
        self._up.labels(worker, device).set(1)

    def ended(self, worker: str, device: str) -> None:
        """A worker process is dead: what it showed of itself goes, what it counted stays."""
        self._up.labels(worker, device).set(0)
        self._restarts.labels(worker, device).inc()
        if self._folder is not None:
            mark_process_dead(worker, str(self._folder))  # type: ignore[no-untyped-call]


@contextmanager
def pool_metrics(address: Address | None) -> Iterator[PoolMetrics]:
    """The metrics of a pool, served for the length of the block if there is an address.

    Raises:
        OSError: the address cannot be listened on.
    """
    if address is None:
        yield PoolMetrics()
        return
    with tempfile.TemporaryDirectory(prefix="cogreel-metrics-") as folder:
        metrics = PoolMetrics(Path(folder))
        with metrics_served(address, metrics.registry) as metrics.url:
            yield metrics


def take_part(environment: Mapping[str, str]) -> str:
    """Keep this worker process's metrics where its supervisor reads them; returns its place in the pool.

    Call it before any metric is made. Started by nobody, a process keeps its metrics to itself.
    """
    worker = environment.get(_WORKER, "worker-0")
    folder = environment.get(_FILES)
    if folder is not None:
        values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
    return worker
