"""Plain attention gives what torch's own gives, in values and in gradients."""

from __future__ import annotations

import torch
from torch.nn import functional

from training.plain_attention import PlainAttention


def attended(*, plainly: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 10, 8, requires_grad=True) for _ in range(3))
    if plainly:
        with PlainAttention():
            result = functional.scaled_dot_product_attention(query, key, value, attn_mask=None)
    else:
        result = functional.scaled_dot_product_attention(query, key, value, attn_mask=None)
    result.square().sum().backward()  # type: ignore[no-untyped-call]
    gradients = [tensor.grad for tensor in (query, key, value) if tensor.grad is not None]
    return [result.detach(), *gradients]


def test_values_and_gradients_are_those_of_torch() -> None:
    plain, own = attended(plainly=True), attended(plainly=False)
    assert len(plain) == len(own) == 4
    for mine, its in zip(plain, own, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


def test_one_key_stands_for_as_many_equal_ones_as_it_is_told() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 8) for _ in range(3))
    more = [torch.cat([tensor, tensor[:, :, -1:].expand(-1, -1, 20, -1)], dim=2) for tensor in (key, value)]
    expected = functional.scaled_dot_product_attention(query, more[0], more[1], attn_mask=None)
    with PlainAttention(key=5, stands_for=21):
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=None)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_is_masked_stays_with_torch() -> None:
    query = torch.randn(1, 1, 4, 8)
    mask = torch.eye(4, dtype=torch.bool)
    with PlainAttention():
        masked = functional.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    torch.testing.assert_close(masked, query)
