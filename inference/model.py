"""The seam between a worker and the thing that makes pictures.

A worker knows requests, leases and files; a model knows prompts, steps and pixels. They meet here and
nowhere else: a `Generation` goes in, a `Clip` comes out, and a `Progress` carries news and cancellation.
Nothing in this module imports torch, so that the simulated device stays light.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.profiles import EXACT

Frames = NDArray[np.uint8]
"""Pictures in time: uint8, shape (frames, height, width, 3), RGB."""
Picture = NDArray[np.uint8]
"""One of them: uint8, shape (height, width, 3), RGB."""
Chunks = Generator[Frames, None, None]
"""Frames that are made some at a time; to close it lets go of what the others would have been made of."""


class Stage(StrEnum):
    """What a running request is busy with, in the order in which stages begin; decode, interpolate and encode overlap,
    chunk by chunk."""

    PREPARE = "prepare"
    DENOISE = "denoise"
    DECODE = "decode"
    INTERPOLATE = "interpolate"
    ENCODE = "encode"
    UPLOAD = "upload"


class CancelledError(Exception):
    """Raised out of `Progress` when the request is no longer wanted; models let it pass and clean up."""


class InputError(Exception):
    """The request can never succeed on this model, however often it is tried.

    `field` is the path of the offending input field as in the contract, such as `prompt`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class DeviceError(Exception):
    """The device is lost or out of memory: the process must be replaced, and the request may be retried."""


@dataclass(frozen=True, slots=True)
class StartPicture:
    """The picture that a video begins with, at the size of the video."""

    pixels: Picture


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """The video that another one is made from: one frame or more, at the size of the video.

    `strength` says how far to move away from it, above 0 and up to 1.
    """

    frames: Frames
    strength: float


Start = StartPicture | SourceVideo


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter for one request: a safetensors file, its weight, and the field that named it."""

    path: Path
    scale: float
    field: str = "text_to_video.loras[0]"


@dataclass(frozen=True, slots=True)
class Generation:
    """What to make. Every value is resolved; `start` is None for a video from text alone, `lora` without an adapter.

    `width` and `height` are pixels of the finished video; `guidance_scale` is the factor of classifier-free
    guidance; `export_fps` is the rate at which frames are shown, so duration = frames / export_fps.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    use_rife: bool
    export_fps: int
    start: Start | None = None
    lora: Lora | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights these are, and how they are run: determinism is promised per identity.

    `name` is the card's model name, `revision` the pinned revision and `digest` the SHA-256 over the weight
    files (hexadecimal), or over the painter's version where there are no weights. `profile` names how they are run
    (see `profiles`).
    """

    name: str
    revision: str
    digest: str
    profile: str = EXACT.name


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames on their way: `chunks` are made when they are taken, some frames at a time, and can be taken once.

    `length` counts the frames of all chunks; `width` and `height` are pixels, before scaling.
    """

    length: int
    width: int
    height: int
    chunks: Chunks

    @classmethod
    def of(cls, frames: Frames) -> Clip:
        """A clip of frames that are there already. Raises ValueError unless they are uint8, RGB, and one or more."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[0] < 1 or frames.shape[3] != 3:
            raise ValueError(f"not a clip of RGB frames: {frames.dtype} of shape {frames.shape}")
        length, height, width, _ = frames.shape
        return cls(length, width, height, (chunk for chunk in [frames]))

    def frames(self) -> Frames:
        """Take all frames as one array."""
        return np.concatenate(list(self.chunks))


class Progress(Protocol):
    """How work in progress speaks: stages are timed, steps are counted, lines are logged.

    Every method is cheap, may be called from several threads at once, and raises `CancelledError` when the
    request is no longer wanted.
    """

    def stage(self, stage: Stage, total: int = 0) -> AbstractContextManager[None]:
        """Enter a stage and measure it; `total` is its number of steps, 0 where it has none.

        What comes in chunks enters its stage for each of them: the times add up.
        """

    def step(self, stage: Stage, step: int) -> None:
        """Say that `step` steps of a stage are done, counted from 1."""

    def log(self, message: str, *, level: str = "INFO") -> None:
        """Add a line to the request's log. Levels: DEBUG, INFO, WARN, ERROR."""

    def check(self) -> None:
        """Say nothing, only look whether the request is still wanted: for the middle of a long step."""


class SilentProgress:
    """A `Progress` of work that nobody waits for, and nobody cancels."""

    def stage(self, stage: Stage, total: int = 0) -> AbstractContextManager[None]:  # noqa: ARG002
        """Measure nothing."""
        return nullcontext()

    def step(self, stage: Stage, step: int) -> None:
        """Tell nobody."""

    def log(self, message: str, *, level: str = "INFO") -> None:
        """Keep nothing."""

    def check(self) -> None:
        """Go on."""


class VideoModel(Protocol):
    """A loaded model on one device. Called by one thread at a time."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights these are."""

    @property
    def input_kinds(self) -> frozenset[str]:
        """What it makes videos from: names of `SubmitRequest.input`, such as `text_to_video`."""

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        """Make the clip: the stages prepare and denoise, and decode when its chunks are taken.

        They are taken in the same thread, and before the next call.

        Raises, here or when a chunk is taken:
            CancelledError: out of `progress`; nothing of the request stays behind in the model.
            InputError: the model can never make this.
            DeviceError: the device is lost or out of memory.
        """
