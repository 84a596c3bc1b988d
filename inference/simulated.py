"""The simulated device: it takes its time as a real one does, and paints instead of denoising.

For those who test their integration with the service, or plan capacity, without a GPU. Requests go through
the same queue, stages, interpolation and encoding; only the model is another. No torch is needed.
"""

from __future__ import annotations

import hashlib
import time
from itertools import islice

import numpy as np

from inference.model import (
    Chunks,
    Clip,
    Generation,
    InputError,
    ModelIdentity,
    Picture,
    Progress,
    SourceVideo,
    Stage,
    Start,
    StartPicture,
)
from inference.model_choice import SIMULATED
from inference.painting import PAINTER_VERSION, paint

_CHUNK_FRAMES = 8  # decoding reports after as many frames as CogVideoX's does
_LOOK_S = 0.05  # the longest sleep without looking whether the request is still wanted


class SimulatedModel:
    """A model that sleeps its steps and paints its frames, at any size.

    The same prompt, seed and size give the same frames, byte for byte; the other parameters change only how
    long they take.
    """

    def __init__(self, *, step_s: float = 0.02, decode_s: float = 0.0, frames: int = 49) -> None:
        """Choose the pace.

        `step_s` is slept a denoising step and `decode_s` in the whole decoding, on top of the painting,
        which takes about half a second for 49 frames of 720 x 480. To plan for a real device put in what
        a step takes on it. `frames` is the length of each clip.

        Raises:
            ValueError: a duration is negative, or there is no frame.
        """
        if step_s < 0 or decode_s < 0:
            raise ValueError("durations cannot be negative")
        if frames < 1:
            raise ValueError("a clip has at least one frame")
        self._step_s = step_s
        self._decode_s = decode_s
        self._frames = frames

    @property
    def identity(self) -> ModelIdentity:
        """Which painter this is."""
        return ModelIdentity(
            name=SIMULATED,
            revision=PAINTER_VERSION,
            digest=hashlib.sha256(PAINTER_VERSION.encode()).hexdigest(),
        )

    @property
    def input_kinds(self) -> frozenset[str]:
        """What it makes videos from: anything."""
        return frozenset({"text_to_video", "image_to_video", "video_to_video"})

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        """Sleep the steps; the frames are painted at the requested size as they are taken.

        Raises, here or when a chunk is taken:
            CancelledError: out of `progress`, at most 50 ms after it is due.
            InputError: the size or the number of steps is not positive, or there is a LoRA.
        """
        if generation.width < 1 or generation.height < 1:
            raise InputError("video_size", "width and height must be positive")
        if generation.num_inference_steps < 1:
            raise InputError("num_inference_steps", "must be at least 1")
        if generation.lora is not None:
            raise InputError(f"{generation.lora.field}.path", "the simulated device has no weights to adapt")
        with progress.stage(Stage.PREPARE):
            progress.check()
        with progress.stage(Stage.DENOISE, total=generation.num_inference_steps):
            for step in range(1, generation.num_inference_steps + 1):
                _sleep(self._step_s, progress)
                progress.step(Stage.DENOISE, step)
        return Clip(self._frames, generation.width, generation.height, self._painted(generation, progress))

    def _painted(self, generation: Generation, progress: Progress) -> Chunks:
        pictures = paint(
            generation.prompt,
            generation.seed,
            frames=self._frames,
            width=generation.width,
            height=generation.height,
        )
        chunks = range(0, self._frames, _CHUNK_FRAMES)
        for done, first in enumerate(chunks, start=1):
            frames: list[Picture] = []
            with progress.stage(Stage.DECODE, total=len(chunks)):
                for number, picture in enumerate(islice(pictures, _CHUNK_FRAMES), start=first):
                    frames.append(_begun(generation.start, picture, number, self._frames))
                    progress.check()
                _sleep(self._decode_s / len(chunks), progress)
                progress.step(Stage.DECODE, done)
            yield np.stack(frames)


def _begun(start: Start | None, painted: Picture, number: int, frames: int) -> Picture:
    """Frame `number` of `frames`: what was painted, over what was given.

    A given picture is the first frame, and gives way to the painted ones until the last. Given frames stay, tinted by
    the painted ones to the degree of the strength; where they end, the last one stays.
    """
    match start:
        case StartPicture(pixels):
            return _blend(pixels, painted, number / max(frames - 1, 1))
        case SourceVideo(source, strength):
            return _blend(source[min(number, len(source) - 1)], painted, strength)
        case None:
            return painted


def _blend(given: Picture, painted: Picture, share: float) -> Picture:
    return np.rint(given * np.float32(1 - share) + painted * np.float32(share)).astype(np.uint8)


def _sleep(seconds: float, progress: Progress) -> None:
    """Sleep, looking out for cancellation."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        progress.check()
        time.sleep(min(left, _LOOK_S))
