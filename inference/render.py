"""From a generation to its MP4: denoise and decode, interpolate, encode.

`render` does all of it in one thread. A worker calls the two halves: `generate_clip` is what needs the device,
`encode_clip` is what does not, and a `Handover` brings the frames from one to the other. This module imports no torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference.model import Clip, Generation, InputError, Progress, VideoModel
from inference.mp4 import encode_mp4


class FrameDoubler(Protocol):
    """What doubles the frames of a clip: RIFE on a device, or averaging for the simulated one."""

    def double(self, clip: Clip, progress: Progress) -> Clip:
        """Turn T frames into 2T, of the same size; the first stays first, and the last comes twice.

        They are made as they are taken: the stage interpolate, with a step for each of the T - 1 pairs.

        Raises, when a chunk is taken:
            CancelledError: out of `progress`.
            DeviceError: the device is lost or out of memory.
        """


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished video.

    `frames` counts what the file holds, after interpolation; `fps` is the rate at which they are shown, so
    duration = frames / fps. `native_width` and `native_height` are the pixels that the model denoised at,
    before scaling to `width` and `height`. `sha256` is that of the file, hexadecimal.
    """

    path: Path
    size_bytes: int
    frames: int
    fps: int
    width: int
    height: int
    native_width: int
    native_height: int
    sha256: str


def render(
    model: VideoModel,
    interpolator: FrameDoubler | None,
    generation: Generation,
    path: Path,
    progress: Progress,
) -> Rendered:
    """Make the video that `generation` describes and write it to `path` as an MP4.

    Raises:
        CancelledError: out of `progress`; no file stays behind.
        InputError: the model can never make this, or RIFE is asked for and there is no interpolator.
        DeviceError: the device is lost or out of memory.
        ValueError: the size asked for is odd.
        OSError: the file can't be written.
    """
    clip = generate_clip(model, interpolator, generation, progress)
    return encode_clip(clip, generation, path, progress)


def generate_clip(
    model: VideoModel, interpolator: FrameDoubler | None, generation: Generation, progress: Progress
) -> Clip:
    """The stages that need the device: prepare and denoise at once, decode and interpolate as chunks are taken.

    Interpolation is done with `use_rife`. The frames come at the size that the model denoised at.

    Raises, here or when a chunk is taken:
        CancelledError: out of `progress`.
        InputError: the model can never make this, or RIFE is asked for and there is no interpolator.
        DeviceError: the device is lost or out of memory.
    """
    if generation.use_rife and interpolator is None:
        # Said before the device works for minutes.
        raise InputError("use_rife", "this model has no frame interpolation")
    clip = model.generate(generation, progress)
    if generation.use_rife and interpolator is not None:
        return interpolator.double(clip, progress)
    return clip


def encode_clip(clip: Clip, generation: Generation, path: Path, progress: Progress) -> Rendered:
    """The stage that needs no device: encode, at the size and rate that `generation` asks for.

    Raises:
        CancelledError: out of `progress`; no file stays behind.
        ValueError: the size asked for is odd.
        OSError: the file can't be written.
    """
    encode_mp4(
        clip,
        path,
        fps=generation.export_fps,
        width=generation.width,
        height=generation.height,
        progress=progress,
    )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Rendered(
        path=path,
        size_bytes=path.stat().st_size,
        frames=clip.length,
        fps=generation.export_fps,
        width=generation.width,
        height=generation.height,
        native_width=clip.width,
        native_height=clip.height,
        sha256=sha256,
    )
