"""How a device trades exactness for speed: chosen by the operator for a worker, and named in every result.

Importing this module imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker may leave out. Without anything it is exact: the numbers of diffusers' own pipeline.

    `step_cache` is the threshold of diffusers' first-block cache (`FirstBlockCacheConfig`): where the first block of
    the transformer changes its input by a share of less than this from one step to the next, the change that the
    other blocks made in the last step is taken again. 0 is without.
    """

    step_cache: float = 0.0

    @property
    def name(self) -> str:
        """What results call it: `exact`, or `fast` with all that its numbers depend on."""
        return f"fast, step cache {self.step_cache:g}" if self.step_cache else "exact"


EXACT = Profile()
