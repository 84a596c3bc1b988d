"""Frames to an MP4 that every browser plays, and back: H.264 by libx264, through PyAV.

The same frames give the same bytes with the same PyAV, whatever the processor and its number of cores. Three
things make it so: scaler and x264 run in their processor-independent modes, the number of x264's threads is
pinned (each number gives other bytes), and nothing that varies, neither a clock nor a version, is written
into the container.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from av.video.stream import VideoStream
from numpy.typing import NDArray

from inference.model import Clip, Picture, Progress, Stage

_PRESET = "medium"  # 3 dB above veryfast at a fifth more bytes; 98 frames of 720x480 in 0.7 to 3 s on 2 cores
_CRF = 17  # x264's scale; its authors call 17 to 18 visually lossless or nearly so
_THREADS = 4  # pinned, since it changes the bytes; beyond 4 nothing is gained at these sizes
_PROGRESS_INTERVAL_FRAMES = 8

# Bicubic for size and chroma, without the shortcuts that shift colours or differ between processors.
_SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.BITEXACT
)


@dataclass(frozen=True, slots=True)
class VideoProperties:
    """What the header of a video file says about its first video stream.

    `fps` is the average frame rate, `codec` and `pixel_format` are FFmpeg's names, such as `h264` and
    `yuv420p`.
    """

    frames: int
    width: int
    height: int
    fps: float
    duration_s: float
    codec: str
    pixel_format: str


def encode_mp4(clip: Clip, path: Path, *, fps: int, width: int, height: int, progress: Progress) -> None:
    """Write a clip as an H.264 MP4: High profile, yuv420p, BT.709 limited range, index first ("faststart").

    The file appears under its name only when it is complete.

    Args:
        clip: frames of any size, encoded as they come.
        path: where to write; its directory exists.
        fps: frames shown a second; duration = frames / fps.
        width, height: pixels of the video, even; frames of another size are scaled to it, bicubically and
            without regard to their aspect ratio.
        progress: told the frames done, every few; cancellation is looked at there. The stage is measured without
            the time that frames are waited for.

    Raises:
        ValueError: `fps` is below 1, or a side is odd or below 2.
        CancelledError: out of `progress`; no file stays behind.
        OSError: the file can't be written.
    """
    if min(width, height) < 2 or width % 2 or height % 2:
        raise ValueError(f"4:2:0 video needs even sides, not {width}x{height}")
    if fps < 1:
        raise ValueError(f"fps must be at least 1, not {fps}")
    partial = path.with_name(path.name + ".partial")
    try:
        _write(clip, partial, fps=fps, width=width, height=height, progress=progress)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write(clip: Clip, path: Path, *, fps: int, width: int, height: int, progress: Progress) -> None:
    # bitexact leaves out the muxer's version.
    muxing = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(path, "w", format="mp4", options=muxing) as container:
        stream = container.add_stream(
            "libx264",
            rate=fps,
            options={"preset": _PRESET, "crf": str(_CRF), "x264-params": "cpu-independent=1"},
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_count = _THREADS
        # Told to the decoder in the bitstream, to the player in the `colr` box.
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709

        reformatter = VideoReformatter()
        done = 0
        for chunk in clip.chunks:
            with progress.stage(Stage.ENCODE, total=clip.length):
                for pixels in chunk:
                    frame = _converted(reformatter, pixels, width=width, height=height)
                    frame.pts, frame.time_base = done, Fraction(1, fps)
                    container.mux(stream.encode(frame))
                    done += 1
                    if done % _PROGRESS_INTERVAL_FRAMES == 0 and done < clip.length:
                        progress.step(Stage.ENCODE, done)
        with progress.stage(Stage.ENCODE, total=clip.length):
            container.mux(stream.encode(None))
            container.close()  # which writes the index
    progress.step(Stage.ENCODE, clip.length)


def _converted(reformatter: VideoReformatter, pixels: Picture, *, width: int, height: int) -> av.VideoFrame:
    frame = reformatter.reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
        width=width,
        height=height,
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_colorspace=Colorspace.ITU709,
        interpolation=_SCALING,
        threads=1,
    )
    # As tags, after the fact: `reformat` takes them as an order to convert the transfer curve too.
    frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return frame


def decode_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode a BT.709 video, one frame after another, as uint8 of shape (height, width, 3), RGB.

    Raises:
        ValueError: the file holds no video.
        av.error.FFmpegError: the file can't be read or is damaged.
    """
    reformatter = VideoReformatter()
    with av.open(path) as container:
        for frame in container.decode(_video_stream(container.streams.video, path)):
            rgb = reformatter.reformat(
                frame,
                format="rgb24",
                src_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=_SCALING,
                threads=1,
            )
            yield rgb.to_ndarray().astype(np.uint8, copy=False)


def probe(path: Path) -> VideoProperties:
    """Read what a video file is from its header, without decoding.

    Raises:
        ValueError: the file holds no video, or does not say how long it is.
        av.error.FFmpegError: the file can't be read or is damaged.
    """
    with av.open(path) as container:
        stream = _video_stream(container.streams.video, path)
        if stream.duration is None or stream.time_base is None or stream.average_rate is None:
            raise ValueError(f"{path} does not say how long it is")
        return VideoProperties(
            frames=stream.frames,
            width=stream.width,
            height=stream.height,
            fps=float(stream.average_rate),
            duration_s=float(stream.duration * stream.time_base),
            codec=stream.codec_context.name,
            pixel_format=stream.pix_fmt or "",
        )


def _video_stream(streams: tuple[VideoStream, ...], path: Path) -> VideoStream:
    if not streams:
        raise ValueError(f"{path} holds no video")
    return streams[0]
