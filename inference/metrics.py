"""What one worker process counts of its device, besides what the queue counts (`jobs.metrics`)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from inference.model import Stage

STAGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)
_OF_DEVICE = ["worker", "device"]


class WorkerMetrics:
    """The metrics of one worker process: `worker` is its place on the machine, such as `worker-0`.

    Its supervisor reads them from outside, and they outlive the process: gauges vanish with it (`live…`), counters stay
    and are taken up by its successor.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, worker: str = "worker-0", device: str = "none"
    ) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self._device = device
        self._stages = Histogram(
            "cogreel_stage_seconds",
            "What was worked in each stage, of attempts that made a video.",
            ["endpoint", "stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._all_steps = Counter(
            "cogreel_denoising_steps_total",
            "Denoising steps that were done; its rate is steps a second.",
            ["endpoint", *_OF_DEVICE],
            registry=registry,
        )
        self._labels = (worker, device)
        self._busy = Counter(
            "cogreel_device_busy_seconds_total",
            "Seconds during which a request had the device; its rate is the busy share.",
            _OF_DEVICE,
            registry=registry,
        ).labels(*self._labels)
        self._memory = _live_gauge(
            "cogreel_device_memory_bytes",
            "Memory in use: what torch has reserved on a GPU, else what the process holds of the machine's.",
            registry,
        ).labels(*self._labels)
        self._capacity = _live_gauge(
            "cogreel_device_memory_capacity_bytes", "The memory of the GPU, or else of the machine.", registry
        ).labels(*self._labels)
        self._broker_up = _live_gauge(
            "cogreel_worker_broker_up", "Whether the worker's connection to NATS is up.", registry
        ).labels(*self._labels)
        self._store_up = _live_gauge(
            "cogreel_worker_store_up", "Whether the object store took the worker's last upload.", registry
        ).labels(*self._labels)
        self._busy_since: float | None = None

    def stage_took(self, endpoint: str, stage: Stage, seconds: float) -> None:
        """So many seconds were spent in a stage of an attempt that made a video."""
        self._stages.labels(endpoint, stage.value).observe(seconds)

    def steps(self, endpoint: str, count: int) -> None:
        """So many denoising steps were done."""
        self._all_steps.labels(endpoint, *self._labels).inc(count)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The device is busy for the length of the block."""
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._count_busy()
            self._busy_since = None

    def store_answered(self, *, up: bool) -> None:
        """An upload succeeded, or the store was out of reach."""
        self._store_up.set(up)

    def sample(self, *, broker_up: bool) -> None:
        """Bring what changes by itself up to date; call it every few seconds."""
        self._count_busy()
        self._broker_up.set(broker_up)
        used, capacity = _memory_bytes(self._device)
        self._memory.set(used)
        self._capacity.set(capacity)

    def _count_busy(self) -> None:
        if self._busy_since is not None:
            now = time.monotonic()
            self._busy.inc(now - self._busy_since)
            self._busy_since = now


def _live_gauge(name: str, help_text: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, help_text, _OF_DEVICE, registry=registry, multiprocess_mode="livemax")


def _memory_bytes(device: str) -> tuple[int, int]:
    """The memory that is in use and that there is, of a GPU or else of this process and machine."""
    torch = sys.modules.get("torch")  # never imported for this: the simulated device does without
    if device.startswith("cuda") and torch is not None:
        return int(torch.cuda.memory_reserved(device)), int(torch.cuda.get_device_properties(device).total_memory)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return resident_pages * page_bytes, os.sysconf("SC_PHYS_PAGES") * page_bytes
