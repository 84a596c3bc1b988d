"""Where a model's parts wait: on the device, or in the machine's memory until their turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from typing import cast

import torch

from inference.native_size import Size
from inference.pipeline import Pipeline

_MEASURED_BYTES = 13e9
"""What CogVideoX-5B takes beside its weights for 49 frames of 720 x 480, in bf16: its published peak of 34 GB, less the
21 GB of the weights."""
_MEASURED_VALUES = 49 * 720 * 480


class Offload(StrEnum):
    """How much of a model waits in the machine's memory. The videos are the same."""

    AUTO = "auto"
    """As much as the device's memory asks for."""
    NONE = "none"
    """Nothing."""
    PARTS = "parts"
    """Text encoder and transformer, each until its turn: CogVideoX-5B moves 11 GB a video, and 10 more for a new
    prompt."""


class Residence:
    """Brings parts of a model to its device, and takes them off again where they do not stay there."""

    def __init__(self, device: torch.device, offload: Offload = Offload.NONE) -> None:
        """`offload` is not AUTO."""
        self.device = device
        self.offload = offload
        self._moves = offload is Offload.PARTS

    def settle(self, pipeline: Pipeline) -> None:
        """Put what stays on the device there: all, or the autoencoder alone.

        Raises:
            RuntimeError: it does not fit.
        """
        staying = pipeline.vae if self._moves else pipeline
        cast(torch.nn.Module, staying).to(self.device)

    @contextmanager
    def of(self, part: torch.nn.Module) -> Iterator[None]:
        """Have a part on the device within the block."""
        if not self._moves:
            yield
            return
        # Its weights do not change, so that those in the machine's memory are kept, and nothing is copied back.
        waiting = [(tensor, tensor.data) for tensor in chain(part.parameters(), part.buffers())]
        try:
            for tensor, data in waiting:
                tensor.data = data.to(self.device)
            yield
        finally:
            for tensor, data in waiting:
                tensor.data = data
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # what torch keeps in pieces would not do for the next part


def fitting(pipeline: Pipeline, *, memory_bytes: int, frames: int, size: Size) -> Offload:
    """What a device's memory asks for, judged by the weights and by the clip's size."""
    working = _MEASURED_BYTES * (frames * size.width * size.height / _MEASURED_VALUES)
    parts = (part for part in pipeline.components.values() if isinstance(part, torch.nn.Module))
    weights = sum(parameter.nbytes for part in parts for parameter in part.parameters())
    return Offload.NONE if weights + working <= memory_bytes else Offload.PARTS
