"""Doubling the frames of a clip by averaging neighbours: no network, no torch, and no sharp motion.

For the simulated model, whose frames have nothing to lose. Anything that moves shows twice in the frames
between; `inference.rife` is what real clips get.
"""

from __future__ import annotations

import numpy as np

from inference.doubling import doubled
from inference.model import Clip, Picture, Progress


class BlendDoubler:
    """Doubles a clip by averaging each two neighbouring frames."""

    def double(self, clip: Clip, progress: Progress) -> Clip:
        """Put the average between each two frames, and repeat the last one: see `doubled`."""
        return doubled(clip, _average, progress)


def _average(one: Picture, other: Picture) -> Picture:
    average: Picture = ((one.astype(np.uint16) + other + 1) // 2).astype(np.uint8)
    return average
