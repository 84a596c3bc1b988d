"""How a device trades exactness for speed: chosen by the operator for a worker, and named in every result.

Importing this module imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kernel = Literal["auto", "flash", "cudnn", "efficient"]
"""What computes attention: torch's own choice, FlashAttention 2, cuDNN's, or the memory-efficient one."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker may leave out, and how it computes the rest. Without anything it is exact.

    `step_cache` is the threshold of diffusers' first-block cache (`FirstBlockCacheConfig`): where the first block of
    the transformer changes its input by a share of less than this from one step to the next, the change that the
    other blocks made in the last step is taken again. 0 is without. `float8` rounds what the transformer multiplies
    to 8 bits.

    `compiled` has torch's compiler join the operations of each block of the transformer, and `attention` names the
    kernel. Both leave the model exact, and give numbers of another rounding.
    """

    step_cache: float = 0.0
    float8: bool = False
    compiled: bool = False
    attention: Kernel = "auto"

    @property
    def name(self) -> str:
        """What results call it: `exact` or `fast`, with all that its numbers depend on."""
        rough = [f"step cache {self.step_cache:g}"] * bool(self.step_cache) + ["float8"] * self.float8
        kernels = ["compiled"] * self.compiled + [f"{self.attention} attention"] * (self.attention != "auto")
        return ", ".join(["fast" if rough else "exact", *rough, *kernels])


EXACT = Profile()
"""The numbers of diffusers' own pipeline."""
