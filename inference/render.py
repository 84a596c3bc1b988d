"""From a generation to its MP4: denoise and decode, interpolate, encode.

`render` does all of it. A worker that wants its device back early calls the two halves: `generate_frames`
is what needs the device, `encode_frames` is what does not. This module imports no torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference.model import Frames, Generation, InputError, Progress, Stage, VideoModel
from inference.mp4 import encode_mp4


class FrameDoubler(Protocol):
    """What doubles the frames of a clip: RIFE on a device, or averaging for the simulated one."""

    def double(self, frames: Frames, progress: Progress) -> Frames:
        """Turn T frames into 2T, of the same size; the first stays first, and the last comes twice.

        Says `progress.step` for each of the T - 1 pairs.

        Raises:
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
    frames = generate_frames(model, interpolator, generation, progress)
    return encode_frames(frames, generation, path, progress)


def generate_frames(
    model: VideoModel, interpolator: FrameDoubler | None, generation: Generation, progress: Progress
) -> Frames:
    """The stages that need the device: prepare, denoise, decode and, with `use_rife`, interpolate.

    The frames come at the size that the model denoised at.

    Raises:
        CancelledError: out of `progress`.
        InputError: the model can never make this, or RIFE is asked for and there is no interpolator.
        DeviceError: the device is lost or out of memory.
    """
    if generation.use_rife and interpolator is None:
        # Said before the device works for minutes.
        raise InputError("use_rife", "this model has no frame interpolation")
    frames = model.generate(generation, progress).frames
    if generation.use_rife and interpolator is not None:
        with progress.stage(Stage.INTERPOLATE, total=len(frames) - 1):
            frames = interpolator.double(frames, progress)
    return frames


def encode_frames(frames: Frames, generation: Generation, path: Path, progress: Progress) -> Rendered:
    """The stage that needs no device: encode, at the size and rate that `generation` asks for.

    Raises:
        CancelledError: out of `progress`; no file stays behind.
        ValueError: the size asked for is odd.
        OSError: the file can't be written.
    """
    with progress.stage(Stage.ENCODE, total=len(frames)):
        encode_mp4(
            frames,
            path,
            fps=generation.export_fps,
            width=generation.width,
            height=generation.height,
            progress=progress,
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    _, native_height, native_width, _ = frames.shape
    return Rendered(
        path=path,
        size_bytes=path.stat().st_size,
        frames=len(frames),
        fps=generation.export_fps,
        width=generation.width,
        height=generation.height,
        native_width=native_width,
        native_height=native_height,
        sha256=sha256,
    )
