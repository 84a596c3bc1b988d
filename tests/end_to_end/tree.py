"""Starting `cogreeld up`, talking to it as a caller, and looking at its processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import psutil
from cogreel.v1 import queue_pb2_grpc, storage_pb2_grpc

from host import children
from host.settings import HOSTED_ENDPOINT
from tests.deployment import Caller, eventually

START_WITHIN_S = 50
EXEC_CHILD = Path(children.__file__).with_name("exec_child.py")


class Tree:
    """One `cogreeld up`, as an async context manager that ends with everything stopped."""

    def __init__(
        self,
        folder: Path,
        *,
        devices: str,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.data_dir = folder / "data"
        self.ready_file = folder / "ready.json"
        self.output = folder / "up.txt"
        self._devices = devices
        self._environment = environment or {}
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Start it and wait for the ready file."""
        with self.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                # By way of the trampoline, so that it stops when the tests are killed.
                *(sys.executable, "-I", "-S", str(EXEC_CHILD), str(int(signal.SIGTERM)), str(os.getpid())),
                *(sys.executable, "-m", "host.cli", "up", "--port", "0", "--devices", self._devices),
                *("--data-dir", str(self.data_dir), "--ready-file", str(self.ready_file)),
                *self._arguments,
                env=os.environ | self._environment,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )

        async def ready() -> bool:
            assert self.process.returncode is None, self.output.read_text()
            return self.ready_file.exists()

        await eventually(ready, bool, within_s=START_WITHIN_S)

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process of `cogreeld up` itself."""
        assert self._process is not None
        return self._process

    @property
    def ready(self) -> dict[str, Any]:
        """What the ready file says now."""
        content: dict[str, Any] = json.loads(self.ready_file.read_text())
        return content

    def pid(self, role: str) -> int:
        """The process id of a role now."""
        return int(self.ready["pids"][role])

    async def caller(self) -> Caller:
        """The user of this machine."""
        ready = self.ready
        if self._channel is None:
            options = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
            self._channel = grpc.aio.insecure_channel(ready["grpc"], options=options)
        stub = queue_pb2_grpc.QueueServiceStub(self._channel)
        storage = storage_pb2_grpc.StorageServiceStub(self._channel)
        return Caller(stub, "default", ready["api_key"], HOSTED_ENDPOINT, storage)

    def descendants(self) -> list[psutil.Process]:
        """All processes of the tree but the first."""
        return psutil.Process(self.process.pid).children(recursive=True)

    async def kill(self, role: str) -> int:
        """Kill a role's process by SIGKILL and wait until another runs in its place; returns its process id."""
        old = self.pid(role)
        os.kill(old, signal.SIGKILL)

        async def new_pid() -> int | None:
            pid: int | None = self.ready["pids"].get(role)
            return pid

        pid = await eventually(new_pid, lambda seen: seen is not None and seen != old)
        assert pid is not None
        return pid

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns its exit status."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def all_gone(processes: list[psutil.Process]) -> None:
    """Wait until none of the processes runs."""

    async def running() -> list[psutil.Process]:
        return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    await eventually(running, lambda left: not left)
