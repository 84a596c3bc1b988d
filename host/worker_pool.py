"""One supervised process for each device and model, restarted with backoff when it dies."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from host.children import Child, ChildSpec, KeptChild
from host.devices import distinct
from host.metrics import PoolMetrics
from host.settings import Settings
from inference.supervisor import Supervisor, WorkerRun
from jobs.broker import Broker

LOADING_WITHIN_S = 1800.0  # CogVideoX-5B is 22 GB; a cold disk or a first download takes its time
DRAIN_MARGIN_S = 15.0


class WorkerPool:
    """The workers of this machine, as an async context manager; entering waits until all are ready.

    Each device gets one process for each of `models`, or for the model of the settings where none is named.
    What a worker prints goes to `<logs>/worker-N.log`, or to our own standard error where `logs` is None.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        models: Sequence[str] = (),
        metrics: PoolMetrics | None = None,
        logs: Path | None = None,
    ) -> None:
        metrics = metrics or PoolMetrics()
        self._supervisor = Supervisor(broker)
        loads = [settings.model_copy(update={"model": model}) for model in models] or [settings]
        places = [(load, device) for load in loads for device in settings.device_list()]
        names = distinct([device for _, device in places])
        self._slots = [
            _Slot(load, device, f"worker-{number}", self._supervisor, called=called, metrics=metrics, logs=logs)
            for number, ((load, device), called) in enumerate(zip(places, names, strict=True))
        ]
        self._stack = AsyncExitStack()
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of those that run, by name."""
        return {slot.name: slot.kept.pid for slot in self._slots if slot.kept.pid is not None}

    @property
    def ready(self) -> bool:
        """Whether every device has its model and takes requests; a pool that stops does not."""
        return not self._stopping and all(slot.serving for slot in self._slots)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._supervisor)
            stack.push_async_callback(self._stop_all)
            # All at once: models load side by side, and while one worker drains no other takes up its request.
            try:
                async with asyncio.TaskGroup() as group:
                    for slot in self._slots:
                        group.create_task(slot.kept.start())
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from failures
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _stop_all(self) -> None:
        self._stopping = True
        await asyncio.gather(*(slot.kept.stop() for slot in self._slots), return_exceptions=True)

    async def wait(self) -> None:
        """Wait until a worker cannot be kept any more; raises why."""
        waits = [asyncio.ensure_future(slot.kept.wait()) for slot in self._slots]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            for wait in waits:
                wait.cancel()


class _Slot:
    """One device and model: its present run, and the process that is kept for it."""

    def __init__(
        self,
        settings: Settings,
        device: str,
        name: str,
        supervisor: Supervisor,
        *,
        called: str,
        metrics: PoolMetrics,
        logs: Path | None,
    ) -> None:
        self.name = name
        self.serving = False
        """Whether its process has its model, and runs."""
        self._settings = settings
        self._device = device
        self._called = called
        self._supervisor = supervisor
        self._metrics = metrics
        self._log_path = logs / f"{name}.log" if logs is not None else None
        self._run = WorkerRun()
        self._pipe = (-1, -1)
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.kept = KeptChild(
            self._next_run, ready=self._become_ready, ready_timeout_s=LOADING_WITHIN_S, on_exit=self._on_exit
        )

    def _next_run(self) -> ChildSpec:
        self._run = WorkerRun()
        self._ready = asyncio.Event()
        self._pipe = os.pipe()
        self._metrics.starting(self.name, self._device)
        own = {
            "COGREEL_DEVICE": self._device,
            "COGREEL_DEVICE_NAME": self._called,
            "COGREEL_INCARNATION": self._run.incarnation,
            "COGREEL_REPORT_FD": str(self._pipe[1]),
        }
        return ChildSpec(
            name=self.name,
            argv=(sys.executable, "-m", "host.device_process"),
            log_path=self._log_path,
            env=self._settings.environment() | dict(self._metrics.environment(self.name)) | own,
            stop_timeout_s=self._settings.worker_grace_s + DRAIN_MARGIN_S,
            pass_fds=(self._pipe[1],),
        )

    async def _become_ready(self, _child: Child) -> None:
        reading_end, writing_end = self._pipe
        os.close(writing_end)
        self._reading = asyncio.create_task(self._read_reports(reading_end), name=f"reports of {self.name}")
        await self._ready.wait()
        self.serving = True
        self._metrics.ready(self.name, self._device)

    async def _read_reports(self, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        with os.fdopen(descriptor, "rb") as pipe:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe
            )
            try:
                while line := await reader.readline():
                    self._run.report(line.decode())
                    if self._run.ready:
                        self._ready.set()
            finally:
                transport.close()

    async def _on_exit(self, _returncode: int) -> None:
        self.serving = False
        if self._reading is not None:
            await self._reading  # the pipe is at its end: what was reported is known
        self._metrics.ended(self.name, self._device)
        await self._supervisor.bury(self._run)
