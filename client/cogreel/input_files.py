"""Files that a submission starts from, as callers name them: small ones travel with it, large ones are uploaded."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path

from cogreel.v1.video_pb2 import File

FileInput = File | str | os.PathLike[str] | bytes
"""What `upload` returned, a URL (`https:` or `data:`), a path, or the content itself."""

INLINE_BYTES = 4 * 1024**2
"""Files up to this size travel inside the submission."""

_FILE_OPTIONS = ("image", "video")


def large_files(options: Mapping[str, object]) -> dict[str, str | os.PathLike[str] | bytes]:
    """Those files among the options of a submission that must be uploaded first, by option.

    Raises:
        OSError: a path cannot be read.
    """
    found: dict[str, str | os.PathLike[str] | bytes] = {}
    for name in _FILE_OPTIONS:
        match options.get(name):
            case bytes() as content if len(content) > INLINE_BYTES:
                found[name] = content
            case (str() | os.PathLike()) as path if not is_url(path) and Path(path).stat().st_size > INLINE_BYTES:
                found[name] = path
    return found


def file_of(value: object) -> File:
    """The contract's message for a file that need not be uploaded.

    Raises:
        ValueError: it is none of the things that can name a file.
        OSError: a path cannot be read.
    """
    match value:
        case File():
            return value
        case bytes():
            return File(file_data=value)
        case str() if is_url(value):
            return File(url=value)
        case str() | os.PathLike():
            return File(file_data=Path(value).read_bytes(), file_name=Path(value).name)
        case _:
            raise ValueError(f"must be a path, a URL, bytes or a File, not {reprlib.repr(value)}")


def is_url(value: str | os.PathLike[str]) -> bool:
    """Whether it names a file by a URL, and not by a path."""
    return isinstance(value, str) and (value.startswith("data:") or "://" in value)
