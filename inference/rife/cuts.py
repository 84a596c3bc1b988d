"""Cut detection: two pictures of different scenes must not be blended into one that was never there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name used throughout torch's own documentation)

CUT_SIMILARITY = 0.2
"""Below this similarity a pair is a cut. The published RIFE pipeline uses the same threshold. Photographs of
different scenes score between -0.1 and 0.15, neighbouring frames of one scene above 0.6."""

_THUMBNAIL_SIZE = 32
_WINDOW_SIZE, _WINDOW_SIGMA = 11, 1.5  # the window of Wang et al.
_C1, _C2 = 0.01**2, 0.03**2  # their stabilising constants, for values in [0, 1]


def thumbnail(image: Tensor) -> Tensor:
    """Average a picture, shape (1, channels, height, width), down to (1, channels, 32, 32)."""
    return F.adaptive_avg_pool2d(image, _THUMBNAIL_SIZE)


def similarity(one: Tensor, other: Tensor) -> float:
    """Structural similarity (SSIM) of two thumbnails with values in [0, 1], mean over channels: 1 if equal.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP 2004),
    equation 13, under a Gaussian window that stays inside the picture.
    """
    offset = torch.arange(_WINDOW_SIZE, device=one.device, dtype=one.dtype) - _WINDOW_SIZE // 2
    gaussian = torch.exp(-(offset**2) / (2 * _WINDOW_SIGMA**2))
    gaussian = gaussian / gaussian.sum()
    window = torch.outer(gaussian, gaussian)[None, None]

    # Channels go through the window one by one, as a batch: (1, channels, h, w) becomes (channels, 1, h, w).
    a, b = one.transpose(0, 1), other.transpose(0, 1)
    mean_a, mean_b, square_a, square_b, product = F.conv2d(torch.cat((a, b, a * a, b * b, a * b)), window).chunk(5)
    variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return float((luminance * structure).mean())
