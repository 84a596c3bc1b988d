"""Putting a frame between each two of a clip, chunk by chunk as they come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inference.model import Chunks, Clip, Picture, Progress, Stage


def doubled(clip: Clip, between: Callable[[Picture, Picture], Picture], progress: Progress) -> Clip:
    """Turn T frames into 2T: after each comes what is `between` it and the next, and the last one comes twice.

    That is the 2 (T - 1) + 1 of the published RIFE pipeline, and the last again, so that at twice the rate the clip
    lasts exactly as long. `between` is called for neighbours in their order; `progress` is told each pair, and
    cancellation is looked at there.
    """
    return Clip(2 * clip.length, clip.width, clip.height, _chunks(clip, between, progress))


def _chunks(clip: Clip, between: Callable[[Picture, Picture], Picture], progress: Progress) -> Chunks:
    pairs = 0
    last: Picture | None = None
    for chunk in clip.chunks:
        made: list[Picture] = []
        with progress.stage(Stage.INTERPOLATE, total=clip.length - 1):
            for frame in chunk:
                if last is not None:
                    made += [last, between(last, frame)]
                    pairs += 1
                    progress.step(Stage.INTERPOLATE, pairs)
                last = frame
        if made:
            yield np.stack(made)
    assert last is not None, "a clip has a frame"
    yield np.stack([last, last])
