"""Makes a loaded transformer run as a profile says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import wraps
from typing import Any

import diffusers
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from inference.float8 import CAPABILITY, round_weights
from inference.model import DeviceError
from inference.profiles import Profile

BACKENDS: Mapping[str, SDPBackend] = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
"""What torch calls the attention kernels that a profile may name."""

_HEAD_WIDTH = 64  # of every CogVideoX, and of the small model too
_MOST_SHAPES = 128
"""How often a block may be compiled: for each size twice, since the first block gets its input in another layout, and
twice again without guidance. Beyond that torch would not compile, and a worker's numbers depend on its past."""


def check_profile(profile: Profile, device: torch.device, dtype: torch.dtype) -> None:
    """Try what a profile asks of a device.

    Raises:
        DeviceError: the device does not have it.
    """
    if profile.compiled and not shutil.which("g++"):
        raise DeviceError("torch compiles by way of g++, which is not here: install it, or unset COGREEL_COMPILE")
    if profile.float8 and device.type == "cuda" and torch.cuda.get_device_capability(device) < CAPABILITY:
        raise DeviceError(
            f"{device} multiplies no 8-bit floats: COGREEL_FLOAT8 takes a GPU of compute capability "
            f"{'.'.join(map(str, CAPABILITY))} or above, such as Ada's, Hopper's or Blackwell's"
        )
    if profile.attention != "auto":
        try:
            token = torch.zeros(1, 1, 16, _HEAD_WIDTH, device=device, dtype=dtype)
            with sdpa_kernel(BACKENDS[profile.attention]):
                scaled_dot_product_attention(token, token, token)
        except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
            raise DeviceError(str(error)) from error
        except RuntimeError as error:
            raise DeviceError(
                f"{device} has no {profile.attention} attention ({error}): leave COGREEL_ATTENTION at auto"
            ) from error


def accelerate(transformer: Any, profile: Profile) -> None:
    """Change a transformer in place; once, before it goes onto its device.

    Each block is compiled alone, so that all but the first share one compilation; the first request of each size waits
    for it. torch keeps what it compiled in TORCHINDUCTOR_CACHE_DIR for the next start.
    """
    # PEFT does so with the first LoRA, and the compiler would take the weights for others from then on.
    transformer.requires_grad_(False)
    if profile.float8:
        round_weights(transformer)
    if profile.compiled:
        torch._dynamo.config.recompile_limit = _MOST_SHAPES
        for block in transformer.transformer_blocks:
            # Its `forward`, not the block, so that the step cache may decide around it. Deterministic means that no
            # kernel is chosen by its time.
            block.forward = torch.compile(block.forward, dynamic=False, options={"deterministic": True})
    if profile.step_cache:
        transformer.enable_cache(
            diffusers.FirstBlockCacheConfig(threshold=profile.step_cache)  # type: ignore[no-untyped-call]
        )
    if profile.attention != "auto":
        _choose(transformer, BACKENDS[profile.attention])


def _choose(transformer: Any, backend: SDPBackend) -> None:
    """Have one kernel compute all attention within the transformer, or fail."""
    forward = transformer.forward

    @wraps(forward)
    def with_kernel(*args: object, **kwargs: object) -> object:
        with sdpa_kernel(backend):
            return forward(*args, **kwargs)

    transformer.forward = with_kernel
