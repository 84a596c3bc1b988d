"""Doubling the frames of a clip by averaging neighbours: no network, no torch, and no sharp motion.

For the simulated model, whose frames have nothing to lose. Anything that moves shows twice in the frames
between; `inference.rife` is what real clips get.
"""

from __future__ import annotations

import numpy as np

from inference.model import Frames, Progress


class BlendDoubler:
    """Doubles a clip by averaging each two neighbouring frames."""

    def double(self, frames: Frames, progress: Progress) -> Frames:
        """Put the average between each two frames, and repeat the last one: T frames become 2T.

        Args:
            frames: at least one.
            progress: told the pairs done, of T - 1; cancellation is looked at between pairs.

        Raises:
            ValueError: there is no frame.
            CancelledError: out of `progress`.
        """
        if len(frames) < 1:
            raise ValueError("a clip needs at least one frame")
        doubled = np.repeat(frames, 2, axis=0)
        for index in range(len(frames) - 1):
            total = frames[index].astype(np.uint16) + frames[index + 1]
            doubled[2 * index + 1] = (total + 1) // 2
            progress.step(index + 1)
        return doubled
