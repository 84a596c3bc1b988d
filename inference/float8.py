"""Linear layers that multiply 8-bit floats (e4m3): half the bytes of bfloat16, and twice its rate on paper."""

from __future__ import annotations

from typing import cast

import torch
from torch.nn.functional import ScalingType, scaled_mm

CAPABILITY = (8, 9)
"""The first CUDA compute capability with such products: Ada's; Hopper's and Blackwell's are later. On a CPU torch does
without them, slowly, which is for trials."""

_E4M3 = torch.float8_e4m3fn
_LARGEST = torch.finfo(_E4M3).max
_SMALLEST_SCALE = 1e-12  # so that rows of zeros do not divide by zero
_MULTIPLE = 16  # of both sides of a weight, asked for by the kernels


class Float8Linear(torch.nn.Linear):
    """A linear layer with weights kept in e4m3, one scale for each row, and inputs rounded so as they come.

    Args of `forward`: (…, in features) in float32 or bfloat16; it returns the same precision.
    """

    weight_scale: torch.Tensor

    @classmethod
    def of(cls, layer: torch.nn.Linear) -> Float8Linear:
        """The layer with its weights rounded; its bias is taken over."""
        rounded = cls(layer.in_features, layer.out_features, bias=False, device="meta")
        weight, scale = _rounded(layer.weight.detach())
        # As bytes, since PEFT makes adapters of the weight's own precision, if it has one.
        rounded.weight = torch.nn.Parameter(weight.view(torch.uint8), requires_grad=False)
        rounded.bias = layer.bias
        rounded.register_buffer("weight_scale", scale.T.contiguous())
        return rounded

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name that torch gives it
        """Multiply."""
        rows, scale = _rounded(input.reshape(-1, self.in_features))
        product = scaled_mm(
            rows,
            self.weight.view(_E4M3).T,
            scale,
            ScalingType.RowWise,
            self.weight_scale,
            ScalingType.RowWise,
            bias=self.bias,
            output_dtype=input.dtype,
            use_fast_accum=True,
        )
        return product.reshape(*input.shape[:-1], self.out_features)


def round_weights(transformer: torch.nn.Module) -> None:
    """Make the attention's and the feed-forward layers of a transformer's blocks `Float8Linear`.

    They do nearly all of its work. What conditions the blocks, and the ways in and out, stay as they are.
    """
    for block in cast(torch.nn.ModuleList, transformer.transformer_blocks):
        for part in (cast(torch.nn.Module, block.attn1), cast(torch.nn.Module, block.ff)):
            for parent in list(part.modules()):
                for name, layer in list(parent.named_children()):
                    if type(layer) is torch.nn.Linear and not any(side % _MULTIPLE for side in layer.weight.shape):
                        setattr(parent, name, Float8Linear.of(layer))


def _rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in e4m3, and their scales as float32 of shape (rows, 1)."""
    scale = (rows.abs().amax(dim=1, keepdim=True).float() / _LARGEST).clamp(min=_SMALLEST_SCALE)
    return (rows / scale).to(_E4M3), scale
