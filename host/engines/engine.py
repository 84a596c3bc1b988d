"""What the embedded engines share: finding the program, its folder, its ports, its life as a kept child."""

import asyncio
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from host.children import Child, ChildFailedError, ChildSpec, KeptChild
from host.engines.errors import EngineMissingError, PortInUseError
from host.engines.folder import EngineFolder
from host.engines.ports import choose_ports, is_free

_PORTS_FILE = "ports.json"
_READY_POLL_S = 0.02
# Between the death of a killed server and the kernel's closing of its ports.
_PORT_WAIT_S = 0.5
_START_ATTEMPTS = 3

# An engine takes nothing else from our environment: both programs read options from variables.
_INHERITED_ENV = ("LD_LIBRARY_PATH", "PATH", "TZ")


def find_program(program: str) -> Path:
    """The path of a program that a wheel installs: beside the interpreter, or else on PATH.

    Raises:
        EngineMissingError: it is in neither place.
    """
    beside = Path(sys.executable).with_name(program)
    if beside.is_file():
        return beside
    found = shutil.which(program)
    if found is None:
        raise EngineMissingError(program)
    return Path(found)


class Engine(ABC):
    """A server on loopback: started as a child, restarted on the same ports when it dies.

    Its files are in `<data_dir>/<name>`, its log is `<data_dir>/logs/<program>.log`. The ports are chosen at
    the first start, noted in the folder, and taken again at later starts if they are free.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    companion_ports: ClassVar[Mapping[str, int]] = {}
    """Offset of a second port that the program takes with a named one."""
    leftovers: ClassVar[str | None] = None
    """Glob pattern of what the server leaves outside its folder, with `{port}` for each of its ports."""
    ready_timeout_s: ClassVar[float] = 30.0
    stop_timeout_s: ClassVar[float] = 5.0

    def __init__(self, data_dir: Path, *, fixed_ports: Mapping[str, int] | None = None) -> None:
        self._data_dir = data_dir.absolute()
        self._folder = EngineFolder(self._data_dir / self.name)
        self._fixed_ports = dict(fixed_ports or {})
        self._ports: dict[str, int] = {}
        self._kept: KeptChild | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None between its death and its restart, and while it is stopped."""
        return None if self._kept is None else self._kept.pid

    async def start(self) -> None:
        """Start the server and wait until it answers. Called from the main thread.

        Raises:
            EngineMissingError: the program is not installed.
            DataDirInUseError: another process has an engine on the same data directory.
            PortInUseError: a port that the caller chose is taken.
            ChildFailedError: the server did not start; the message ends with its log.
        """
        program = find_program(self.program)
        lock = await self._folder.lock()
        try:
            self._ports = self._noted_ports()
            self._tidy()
            self._prepare()
            await self._start_on_free_ports(program, lock)
        except BaseException:
            self._folder.unlock()
            raise

    async def wait_ready(self) -> None:
        """Wait until the server answers, or answers again after a restart."""
        await self._running().wait_ready()

    async def wait(self) -> None:
        """Wait until the engine is stopped; raises if it can no longer be kept running."""
        await self._running().wait()

    async def stop(self) -> None:
        """Stop the server, if it runs, and let go of the data directory."""
        kept, self._kept = self._kept, None
        if kept is None:
            return
        try:
            await kept.stop()
        finally:
            self._tidy()
            self._folder.unlock()

    @abstractmethod
    def _prepare(self) -> None:
        """Make what the server needs in its folder, but for what depends on the ports."""

    @abstractmethod
    def _command(self, program: Path) -> tuple[str, ...]:
        """Write the configuration for the present ports and return the command line."""

    def _environment(self) -> dict[str, str]:
        """Environment variables for the server."""
        return {}

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether the server does its work."""

    async def _start_on_free_ports(self, program: Path, lock: int) -> None:
        if not await self._ports_become_free():
            self._choose_ports()
        for attempt in range(1, _START_ATTEMPTS + 1):
            spec = ChildSpec(
                name=self.program,
                argv=self._command(program),
                log_path=self._data_dir / "logs" / f"{self.program}.log",
                env=self._environment(),
                inherited_env=_INHERITED_ENV,
                cwd=self._folder.path,
                stop_timeout_s=self.stop_timeout_s,
                pass_fds=(lock,),
            )
            kept = KeptChild(spec, ready=self._until_it_answers, ready_timeout_s=self.ready_timeout_s)
            try:
                await kept.start()
            except ChildFailedError:
                # Someone may have taken a port after we looked; any other failure is the server's own.
                if attempt == _START_ATTEMPTS or self._all_free():
                    raise
                self._choose_ports()
            else:
                self._kept = kept
                return

    def _noted_ports(self) -> dict[str, int]:
        texts = self._folder.read_texts(_PORTS_FILE) or {}
        ports = {name: int(text) for name, text in texts.items()} | self._fixed_ports
        return ports if set(ports) == set(self.port_names) else {}

    async def _ports_become_free(self) -> bool:
        deadline = time.monotonic() + _PORT_WAIT_S
        while self._ports:
            if self._all_free():
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_READY_POLL_S)
        return False

    def _all_free(self) -> bool:
        return all(map(is_free, self._port_numbers()))

    def _port_numbers(self) -> list[int]:
        if not self._ports:
            return []
        return [
            *self._ports.values(),
            *(self._ports[n] + offset for n, offset in self.companion_ports.items()),
        ]

    def _tidy(self) -> None:
        if self.leftovers is not None:
            for port in self._port_numbers():
                pattern = Path(self.leftovers.format(port=port))
                for leftover in pattern.parent.glob(pattern.name):
                    leftover.unlink(missing_ok=True)

    def _choose_ports(self) -> None:
        for port in self._fixed_ports.values():
            if not is_free(port):
                raise PortInUseError(port)
        self._ports = choose_ports(self.port_names, self.companion_ports) | self._fixed_ports
        self._folder.write_texts(_PORTS_FILE, {name: str(port) for name, port in self._ports.items()})

    async def _until_it_answers(self, _child: Child) -> None:
        while not await self._answers():  # noqa: ASYNC110  (another process: it sets no event of ours)
            await asyncio.sleep(_READY_POLL_S)

    def _running(self) -> KeptChild:
        if self._kept is None:
            raise RuntimeError(f"{self.program} has not been started")
        return self._kept

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
