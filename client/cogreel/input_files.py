"""Files of a submission, as callers name them: small ones travel with it, large ones and LoRAs are uploaded."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Required, TypedDict

from cogreel.v1.video_pb2 import File, Lora

FileInput = File | str | os.PathLike[str] | bytes
"""What `upload` returned, a URL (`https:` or `data:`), a path, or the content itself."""

INLINE_BYTES = 4 * 1024**2
"""Files up to this size travel inside the submission."""

_FILE_OPTIONS = ("image", "video")


class LoraOption(TypedDict, total=False):
    """A low-rank adapter. Only `path` is required."""

    path: Required[File | str | os.PathLike[str]]
    """What `upload` returned, a URL, a hub id such as `owner/name`, or a `Path` of this machine, which is uploaded."""

    scale: float
    """How strongly it acts, -4 to 4. Left out, it is 1."""


def files_to_upload(options: Mapping[str, object]) -> dict[str, str | os.PathLike[str] | bytes]:
    """Those files among the options of a submission that must be uploaded first, by option (`loras[0]`).

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
    for place, lora in enumerate(loras_of(options.get("loras"))):
        named = lora.get("path")
        if isinstance(named, os.PathLike):
            found[f"loras[{place}]"] = named
    return found


def loras_of(value: object) -> list[Mapping[str, object]]:
    """The LoRAs of an option; those that are none are left for `lora_of` to complain of."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [lora if isinstance(lora, Mapping) else {"path": lora} for lora in value]
    return [{"path": value}] if value is not None else []


def lora_of(value: Mapping[str, object], uploaded: File | None) -> Lora:
    """The contract's message for a LoRA, by the URL of its file if that was uploaded.

    Raises:
        ValueError: it is nothing that can name one.
    """
    path = uploaded or value.get("path")
    if value.keys() - LoraOption.__annotations__ or not isinstance(path, File | str):
        raise ValueError(f"must be {{'path': ..., 'scale': ...}}, not {reprlib.repr(dict(value))}")
    lora = Lora(path=path.url if isinstance(path, File) else path)
    scale = value.get("scale")
    if scale is not None:
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise ValueError(f"must have a number for its scale, not {reprlib.repr(scale)}")
        lora.scale = scale
    return lora


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
