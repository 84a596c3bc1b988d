"""What is to be uploaded, whatever it came as: a file on disk, with its name, its type and how far it has gone up."""

from __future__ import annotations

import mimetypes
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import BinaryIO

from cogreel.errors import ErrorDetails, UploadError

UploadSource = str | os.PathLike[str] | bytes | BinaryIO
"""A path, content, or a file object open for reading in binary mode."""
OnProgress = Callable[[int, int], None]
"""Told how many bytes have gone up, and of how many. Called from several threads, one at a time."""

_COPY_BYTES = 1024**2
_READ_BYTES = 256 * 1024

_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF8", "image/gif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
)


@dataclass
class Content:
    """A file on disk that is to go up, piece by piece, each read through a handle of its own."""

    path: Path
    size: int
    file_name: str | None
    content_type: str
    on_progress: OnProgress | None = None
    stop: Event = field(default_factory=Event)
    """Gives up soon after it is set, by another thread."""
    _sent: dict[int, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def sent(self, start: int, count: int) -> None:
        """Note that of the piece at `start` `count` bytes have gone up; fewer than before if it begins again."""
        with self._lock:
            self._sent[start] = count
            if self.on_progress is not None:
                self.on_progress(sum(self._sent.values()), self.size)

    def begin_again(self) -> None:
        """Nothing has gone up."""
        with self._lock:
            self._sent.clear()


class Piece:
    """A part of a file to read from, which notes how far it has been read."""

    def __init__(self, content: Content, file: BinaryIO, start: int, size: int) -> None:
        self._content = content
        self._file = file
        self._start = start
        self._size = size
        self._left = size
        file.seek(start)

    def read(self, size: int = _READ_BYTES) -> bytes:
        """The next bytes, none at the end.

        Raises:
            UploadError: the upload was stopped, or the file has become shorter.
        """
        if self._content.stop.is_set():
            raise UploadError(ErrorDetails("the upload was stopped"))
        found = self._file.read(min(max(size, _READ_BYTES), self._left))
        if self._left and not found:
            raise UploadError(ErrorDetails("the file has become shorter while it was read"))
        self._left -= len(found)
        self._content.sent(self._start, self._size - self._left)
        return found


@contextmanager
def opened(
    source: UploadSource, content_type: str | None, file_name: str | None, on_progress: OnProgress | None
) -> Iterator[Content]:
    """The content of a source for the length of the block; what is no file on disk becomes a temporary one.

    Raises:
        UploadError: it is empty.
        OSError: it cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        yield _content(path, content_type, file_name or path.name, on_progress)
        return
    given_name = getattr(source, "name", None)
    name = file_name or (Path(given_name).name if isinstance(given_name, str) else None)
    with tempfile.TemporaryDirectory(prefix="cogreel-") as folder:
        path = Path(folder) / "content"
        with path.open("wb") as file:
            if isinstance(source, bytes):
                file.write(source)
            else:
                while chunk := source.read(_COPY_BYTES):
                    file.write(chunk)
        yield _content(path, content_type, name, on_progress)


def _content(path: Path, content_type: str | None, name: str | None, on_progress: OnProgress | None) -> Content:
    size = path.stat().st_size
    if not size:
        raise UploadError(ErrorDetails(f"{name or 'the content'} is empty"))
    return Content(path, size, name, content_type or _guess(path, name), on_progress)


def _guess(path: Path, name: str | None) -> str:
    """The type by the first bytes; where they tell nothing, by the suffix of the name, unless they contradict it.

    The service looks again.
    """
    with path.open("rb") as file:
        head = file.read(16)
    for offset, begins, content_type in _SIGNATURES:
        if head[offset:].startswith(begins):
            return content_type
    if name is not None and name.lower().endswith(".safetensors"):
        return "application/x-safetensors"
    named = mimetypes.guess_type(name)[0] if name else None
    if named is None or any(named == content_type for _, _, content_type in _SIGNATURES):
        return "application/octet-stream"
    return named
