"""Doubling the frames of a clip with RIFE on one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name used throughout torch's own documentation)

from inference.doubling import doubled
from inference.model import Clip, DeviceError, Picture, Progress
from inference.rife.cuts import CUT_SIMILARITY, similarity, thumbnail
from inference.rife.ifnet import SIZE_MULTIPLE, load_ifnet


def default_dtype(device: torch.device) -> torch.dtype:
    """The precision of the convolutions that pays on a device.

    CUDA: float16. CPU: bfloat16 where the processor multiplies it natively, which is 2.6 times as fast as
    float32 (0.36 s against 0.93 s a pair at 720x480 on one core with AMX) at the same quality (within 0.5 dB,
    in either direction); float32 elsewhere. Flows, warps and blending are float32 always.
    """
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"):
            return torch.bfloat16
    return torch.float32


class Interpolator:
    """RIFE loaded on one device. Called by one thread at a time.

    The same frames give the same bytes on the same device kind and dtype, whatever the number of threads.
    """

    def __init__(self, weights: Path, *, device: torch.device, dtype: torch.dtype | None = None) -> None:
        """Load the network.

        Args:
            weights: the file that `find_rife_weights` returned.
            device: where to compute. On CUDA the process is set to deterministic cuDNN algorithms.
            dtype: precision of the convolutions; by default `default_dtype(device)`.

        Raises:
            RuntimeError, pickle.UnpicklingError: the file is not what `find_rife_weights` verifies.
            DeviceError: the device is lost or out of memory.
        """
        self._device = device
        self._dtype = default_dtype(device) if dtype is None else dtype
        if device.type == "cuda":
            # Transposed convolutions may otherwise add up in an order that changes from run to run.
            torch.backends.cudnn.deterministic = True
        network = load_ifnet(weights)
        with _device_errors():
            self._network = network.to(device=device, dtype=self._dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the convolutions."""
        return self._dtype

    def double(self, clip: Clip, progress: Progress) -> Clip:
        """Put a frame between each two, and repeat the last one: see `doubled`.

        Between identical frames, and across a cut, the first of the two is repeated. Frames are padded at the right and
        bottom to multiples of 32 by replication, and cropped again.

        Raises, when a chunk is taken:
            CancelledError: out of `progress`.
            DeviceError: the device is lost or out of memory.
        """
        uploaded: Tensor | None = None  # the later frame of the last pair is the earlier one of the next

        def between(one: Picture, other: Picture) -> Picture:
            nonlocal uploaded
            if np.array_equal(one, other):
                return one
            with _device_errors(), torch.inference_mode():
                first = self._upload(one) if uploaded is None else uploaded
                second = uploaded = self._upload(other)
                if similarity(thumbnail(first), thumbnail(second)) < CUT_SIMILARITY:
                    return one
                return self._halfway(first, second)

        return doubled(clip, between, progress)

    def _upload(self, frame: Picture) -> Tensor:
        """A frame as float32 in [0, 1] on the device, shape (1, 3, height, width)."""
        on_device = torch.tensor(frame, device=self._device)
        return on_device.permute(2, 0, 1)[None].to(torch.float32) / 255

    def _halfway(self, first: Tensor, second: Tensor) -> Picture:
        height, width = first.shape[2:]
        padding = (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE)
        halfway: Tensor = self._network(
            F.pad(first, padding, mode="replicate"), F.pad(second, padding, mode="replicate")
        )
        levels = (halfway[0, :, :height, :width] * 255).round().clamp(0, 255).to(torch.uint8)
        pixels: Picture = levels.permute(1, 2, 0).cpu().numpy()
        return pixels


@contextmanager
def _device_errors() -> Iterator[None]:
    """Turn what torch raises for a lost or full accelerator into `DeviceError`."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
        raise DeviceError(f"interpolation: {error}") from error
