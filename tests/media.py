"""Small pictures and videos, and what is not what it says."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from inference.model import Clip, Stage
from inference.mp4 import encode_mp4
from tests.inference.progress import RecordingProgress

RED, GREEN = (250, 10, 10), (10, 200, 10)


def picture(color: tuple[int, int, int] = RED, *, size: tuple[int, int] = (96, 64), kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, kind)
    return content.getvalue()


def video(color: tuple[int, int, int] = GREEN, *, size: tuple[int, int] = (96, 64), frames: int = 9) -> bytes:
    """An MP4 of one colour."""
    pixels = np.empty((frames, size[1], size[0], 3), np.uint8)
    pixels[:] = color
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        progress = RecordingProgress()
        with progress.stage(Stage.ENCODE):
            encode_mp4(Clip.of(pixels), path, fps=8, width=size[0], height=size[1], progress=progress)
        return path.read_bytes()


def bomb(side: int = 40_000) -> bytes:
    """A PNG of a few bytes that says that it has `side` × `side` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
