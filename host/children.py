"""Child processes that never outlive us: one run of a program (`Child`), and one kept running (`KeptChild`).

A child runs in a session of its own, so that Ctrl-C in our terminal reaches only us and we decide when it
stops; the kernel signals it when we die, however we die. What it prints goes to a log file. Linux only.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import structlog

_EXEC_CHILD = Path(__file__).with_name("exec_child.py")
_ROTATE_LOG_BYTES = 16 * 1024 * 1024
_LOG_TAIL_BYTES = 4096

_log = structlog.stdlib.get_logger(__name__)


class ChildFailedError(RuntimeError):
    """A child ended, or did not become ready in time.

    The message ends with the cause that the child told last, or else with the last lines of its log.
    """

    def __init__(self, name: str, returncode: int | None, problem: str, log_tail: str) -> None:
        cause = _told_cause(log_tail)
        super().__init__(f"{name}: {problem}: {cause}" if cause else f"{name}: {problem}\n{log_tail}".rstrip())
        self.name = name
        self.returncode = returncode
        """As in `subprocess`: the exit status, or minus the signal; None if it still ran."""
        self.log_tail = log_tail


def _told_cause(log_tail: str) -> str:
    """The last error of a program of ours: a line `error: …`, or a JSON record of level error with a cause."""
    for line in reversed(log_tail.splitlines()):
        kind, _, said = line.partition(": ")
        if kind in {"error", "Error"}:
            return said
        with contextlib.suppress(ValueError, AttributeError):
            record = json.loads(line)
            if record.get("level") == "error" and "exception" not in record:
                return str(record.get("cause") or record["event"])
    return ""


@dataclass(frozen=True)
class ChildSpec:
    """How to run a program."""

    name: str
    """What messages call it."""
    argv: tuple[str, ...]
    """The program, by path or looked up on PATH, and its arguments. Everyone on the machine can read these: a
    secret belongs in `env` or in a file of mode 0600."""
    log_path: Path | None
    """Receives stdout and stderr, appended. A start that finds it above 16 MiB moves it to `<name>.1`. With None, the
    child writes where we do."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables on top of the inherited ones."""
    inherited_env: tuple[str, ...] | None = None
    """Names of the variables it inherits from us; None means all."""
    cwd: Path | None = None
    """Working directory; None means ours."""
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when we die: SIGKILL where nothing is lost by it, SIGTERM for what drains."""
    stop_timeout_s: float = 10.0
    """Between SIGTERM and SIGKILL."""
    pass_fds: tuple[int, ...] = ()
    """File descriptors that stay open in the child, under the same numbers."""


class Child:
    """One run of a program. As an async context manager, it runs for the length of the block."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._group_ended = False

    async def start(self) -> None:
        """Start the program. One that cannot be executed exits with status 127 and says why in its log.

        Raises:
            RuntimeError: called off the main thread. The kernel sends the death signal when the thread that
                started the child ends, so a child of any other thread would die with that thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{self.spec.name}: children are started from the main thread only")
        spec = self.spec
        inherited = os.environ if spec.inherited_env is None else spec.inherited_env
        environment = {name: os.environ[name] for name in inherited if name in os.environ} | dict(spec.env)
        with contextlib.ExitStack() as stack:
            log: BinaryIO | None = None
            if spec.log_path is not None:
                log = stack.enter_context(_open_log(spec.log_path))
                self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", str(_EXEC_CHILD), str(int(spec.death_signal)), str(os.getpid())),
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else asyncio.subprocess.STDOUT,
                cwd=spec.cwd,
                env=environment,
                start_new_session=True,
                pass_fds=spec.pass_fds,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """As in `subprocess`; None while it runs."""
        return self._started().returncode

    async def wait(self) -> int:
        """Wait for the end of the child, kill what it left in its process group, return its status."""
        returncode = await self._started().wait()
        self._kill_group()
        return returncode

    async def stop(self, timeout_s: float | None = None) -> int:
        """End the child: SIGTERM, and after `timeout_s` (default: the spec's) SIGKILL to its whole group.

        A cancelled stop kills at once. Stopping an ended child only returns its status.
        """
        process = self._started()
        try:
            if process.returncode is None:
                process.terminate()
                async with asyncio.timeout(self.spec.stop_timeout_s if timeout_s is None else timeout_s):
                    await process.wait()
        except TimeoutError:
            _log.warning("child killed: it did not stop in time", child=self.spec.name, pid=process.pid)
        finally:
            self._kill_group()
        return await process.wait()

    def log_tail(self) -> str:
        """The last lines that this run printed, 4 KiB at most; empty if they went where ours go."""
        if self.spec.log_path is None:
            return ""
        with self.spec.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = log.seek(max(self._log_start, size - _LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace")
        return text if start == self._log_start else text.partition("\n")[2]

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.spec.name} has not been started")
        return self._process

    def _kill_group(self) -> None:
        process = self._started()
        # Once, right after the end: later, the number may be another group's.
        if self._group_ended:
            return
        self._group_ended = process.returncode is not None
        with contextlib.suppress(ProcessLookupError):  # the usual case: nothing of the group is left
            os.killpg(process.pid, signal.SIGKILL)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


@dataclass(frozen=True)
class RestartBackoff:
    """The pause before a restart: `first_s`, doubled at each restart up to `max_s`."""

    first_s: float = 0.2
    max_s: float = 10.0
    reset_after_s: float = 30.0
    """A child that lived this long starts over at `first_s`."""


class KeptChild:
    """A program that is started again whenever it ends by itself.

    Args:
        spec: how to run it, or a function called before each start, for runs that differ (a fresh pipe, a
            fresh incarnation id).
        ready: returns once the child that it is given serves; it is cancelled when that child ends. Without
            it a child is ready when started.
        ready_timeout_s: a child not ready by then is stopped, and counts as one that ended.
        on_exit: awaited after each end that `stop` did not ask for, with the status, before the restart.
        backoff: the pauses between restarts.

    An exception out of `spec`, `ready` or `on_exit` ends the keeping and the child; `wait` raises it.
    """

    def __init__(
        self,
        spec: ChildSpec | Callable[[], ChildSpec],
        *,
        ready: Callable[[Child], Awaitable[None]] | None = None,
        ready_timeout_s: float = 30.0,
        on_exit: Callable[[int], Awaitable[None]] | None = None,
        backoff: RestartBackoff = RestartBackoff(),
    ) -> None:
        self._spec = spec
        self._ready_check = ready
        self._ready_timeout_s = ready_timeout_s
        self._on_exit = on_exit
        self._backoff = backoff
        self._child: Child | None = None
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the present run; None between two runs."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Start the program and wait until it is ready. A first start that fails is not repeated.

        Raises:
            ChildFailedError: it ended, or the time ran out, before it was ready.
        """
        self._keeper = asyncio.create_task(self._keep(), name="keep a child running")
        try:
            await self.wait_ready()
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def wait_ready(self) -> None:
        """Wait until the present run, or else the next one, is ready.

        Raises:
            RuntimeError: the program is not kept, or no longer.
            Exception: whatever ended the keeping.
        """
        if self._keeper is None:
            raise RuntimeError("not started")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({self._keeper, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._keeper.cancelled():
            raise RuntimeError("stopped")
        if self._keeper.done():
            self._keeper.result()

    async def wait(self) -> None:
        """Wait until the keeping ends: by `stop`, or by an exception out of one of the hooks, raised here."""
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
            if not self._keeper.cancelled():
                self._keeper.result()

    async def stop(self) -> None:
        """Stop the child and keep it no longer. Raises what `wait` raises."""
        if self._keeper is not None:
            self._keeper.cancel()
            await self.wait()

    async def _keep(self) -> None:
        was_ready = False
        delay_s = self._backoff.first_s
        while True:
            child = Child(self._spec() if callable(self._spec) else self._spec)
            started_at = time.monotonic()
            failure: ChildFailedError | None = None
            try:
                async with child:
                    self._child = child
                    failure = await self._become_ready(child)
                    if failure is None:
                        was_ready = True
                        self._ready.set()
                        await child.wait()
            finally:
                self._child = None
                self._ready.clear()
            if failure is not None and not was_ready:
                raise failure
            if time.monotonic() - started_at >= self._backoff.reset_after_s:
                delay_s = self._backoff.first_s
            returncode = await child.wait()
            _log.warning(
                "child ended, starting it again",
                child=child.spec.name,
                returncode=returncode,
                delay_s=delay_s,
                log_path=str(child.spec.log_path),
            )
            if self._on_exit is not None:
                await self._on_exit(returncode)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, self._backoff.max_s)

    async def _become_ready(self, child: Child) -> ChildFailedError | None:
        if self._ready_check is None:
            return None
        ready = asyncio.ensure_future(self._ready_check(child))
        ended = asyncio.ensure_future(child.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=self._ready_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if child.returncode is not None:
                problem = f"ended with status {child.returncode} before it was ready"
            elif ready.done():
                await ready
                return None
            else:
                problem = f"not ready after {self._ready_timeout_s:g} s"
        finally:
            ready.cancel()
            ended.cancel()
        return ChildFailedError(child.spec.name, child.returncode, problem, child.log_tail())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _ROTATE_LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    log = os.fdopen(descriptor, "ab")
    log.seek(0, os.SEEK_END)
    return log
