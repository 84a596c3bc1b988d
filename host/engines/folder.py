"""The private folder of one engine in a data directory: its lock, and files that only the owner reads."""

import asyncio
import fcntl
import json
import os
import time
from pathlib import Path

from host.engines.errors import DataDirInUseError

# A server that has just lost its parent is killed by the kernel at once, but exits in its own time.
_LOCK_WAIT_S = 2.0
_LOCK_POLL_S = 0.02


class EngineFolder:
    """A folder of mode 0700, created as needed, that one process at a time may hold."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    async def lock(self) -> int:
        """Take the folder; returns the descriptor that holds the lock.

        The lock lives until the last process that has this descriptor open is gone: hand it to the server,
        and no second one can start on the same files, even if the first outlives us.

        Raises:
            DataDirInUseError: another process holds it, and still did after 2 s.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await self._acquire(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor
        return descriptor

    async def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not _flock(descriptor):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode()
                raise DataDirInUseError(self.path, int(holder) if holder.isdigit() else None)
            await asyncio.sleep(_LOCK_POLL_S)

    def unlock(self) -> None:
        """Let go of the folder. Does nothing where it is not held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, name: str, text: str) -> Path:
        """Write a file of mode 0600, whole or not at all, and return its path."""
        path = self.path / name
        fresh = path.with_name(f"{name}.new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return fresh.replace(path)

    def read_texts(self, name: str) -> dict[str, str] | None:
        """The JSON object of strings in a file that `write_texts` wrote, or None if there is no such file.

        Raises:
            ValueError: the file holds something else.
        """
        path = self.path / name
        if not path.exists():
            return None
        document: object = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"{path} does not hold a JSON object")  # noqa: TRY004
        return {str(key): str(value) for key, value in document.items()}

    def write_texts(self, name: str, values: dict[str, str]) -> None:
        """Write a JSON object of strings as a file of mode 0600."""
        self.write(name, json.dumps(values, indent=2) + "\n")


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
