"""Pictures and videos of callers, decoded with distrust: what is not clearly harmless is refused.

Only the formats that are taken are tried, sizes are read from the headers before anything is decoded, and frames and
time are bounded. This module imports no torch.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from inference.model import Frames, Picture

MAX_PICTURE_PIXELS = 50_000_000
MAX_FRAME_PIXELS = 4096 * 2304
MAX_DECODE_S = 60.0
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_CONTAINERS = {"video/mp4": "mp4", "video/quicktime": "mp4", "video/webm": "webm"}
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores"})


class UnreadableError(Exception):
    """The file cannot be taken; the message says why, for the caller who sent it."""


def load_picture(path: Path, width: int, height: int) -> Picture:
    """A picture, fitted to a size in pixels: scaled to cover it, and what stands out is cut off evenly.

    Of an animation it is the first frame. What is transparent becomes white.

    Raises:
        UnreadableError: it is damaged, too large, or none of the formats that are taken.
    """
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as opened:
            if opened.width * opened.height > MAX_PICTURE_PIXELS:
                raise UnreadableError(
                    f"must have at most {MAX_PICTURE_PIXELS} pixels, has {opened.width} × {opened.height}"
                )
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            fitted = ImageOps.fit(upright.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
            return np.asarray(fitted)
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"must have at most {MAX_PICTURE_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise UnreadableError("cannot be decoded as a picture: the file is damaged") from error


def load_frames(
    path: Path, content_type: str, width: int, height: int, *, most: int, check: Callable[[], None]
) -> tuple[Frames, bool]:
    """The first frames of a video, each fitted to a size in pixels as pictures are; and whether there are more.

    `most` bounds the frames; `check` is called between two of them and may raise.

    Raises:
        UnreadableError: it is damaged, empty, too large, too slow to decode, or of a kind that is not taken.
    """
    frames: list[Picture] = []
    try:
        for picture in _pictures(path, _CONTAINERS[content_type]):
            check()
            if len(frames) == most:
                return np.stack(frames), True
            frames.append(np.asarray(ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)))
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise UnreadableError("cannot be decoded as a video: the file is damaged") from error
    if not frames:
        raise UnreadableError("holds no frames")
    return np.stack(frames), False


def _pictures(path: Path, container_format: str) -> Iterator[Image.Image]:
    deadline = time.monotonic() + MAX_DECODE_S
    # By its own format only, and never another file that it may name.
    with av.open(path, format=container_format, options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise UnreadableError("holds no video")
        stream = container.streams.video[0]
        codec = stream.codec_context.codec.canonical_name
        if codec not in _CODECS:
            raise UnreadableError(f"has the codec {codec}; taken are {', '.join(sorted(_CODECS))}")
        _check_pixels(stream.codec_context.width, stream.codec_context.height)
        for frame in container.decode(stream):
            _check_pixels(frame.width, frame.height)  # a stream may change its size on the way
            if time.monotonic() > deadline:
                raise UnreadableError(f"takes more than {MAX_DECODE_S:.0f} s to decode")
            yield Image.fromarray(frame.to_ndarray(format="rgb24"))


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        raise UnreadableError(f"must have at most {MAX_FRAME_PIXELS} pixels a frame, has {width} × {height}")
