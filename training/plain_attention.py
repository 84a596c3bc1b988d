"""Attention as two matrix products: what trains short sequences fastest on a CPU, and with keys that count for many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """Within this context, attention without a mask is computed plainly, and one key may stand for many equal ones.

    For some hundred tokens torch's own CPU kernel spends more time on its backward pass than all matrix products of
    a step together.
    """

    def __init__(self, *, key: int = 0, stands_for: int = 1) -> None:
        """`key` is the place of the key that counts as `stands_for` keys equal to it."""
        super().__init__()
        self._key = key
        self._more = math.log(stands_for)  # softmax then gives it the weight of them all

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace `scaled_dot_product_attention`, and leave all else as it is."""
        given = kwargs or {}
        if func is functional.scaled_dot_product_attention and given.get("attn_mask") is None:
            query, key, value = args[:3]
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
            if self._more:
                scores[..., self._key] += self._more
            return torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype) @ value
        return func(*args, **given)
