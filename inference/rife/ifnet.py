"""The network of RIFE 3.6 HD: the picture halfway between two pictures, by intermediate optical flow.

Architecture of Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation"
(ECCV 2022, https://arxiv.org/abs/2011.06294), in the variant published as IFNet HDv3. Three blocks refine,
from coarse to fine, the flows from the middle to either picture and the mask that weighs the two warps.
Module names follow the published weights, so that those load strictly. Choosing pairs, padding and rounding
belong to `interpolate`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the name used throughout torch's own documentation)

SIZE_MULTIPLE = 32
"""Width and height must be multiples of this: a quarter-size level, then two convolutions of stride 2, leave
whole pixels at multiples of 16; the published pipeline pads to 32, and so do we."""

_WIDTH = 90  # feature channels of every block
_LEVEL_SCALES = (4, 2, 1)  # the blocks see the pictures at a quarter, at half and at full size
_TRAINING_ONLY_PREFIX = "block_tea."  # the teacher of the distillation, not used for inference


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1), nn.PReLU(out_channels)
    )


def _residual_pair() -> nn.Sequential:
    return nn.Sequential(_conv(_WIDTH, _WIDTH), _conv(_WIDTH, _WIDTH))


def _head(out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(_WIDTH, _WIDTH // 2, kernel_size=4, stride=2, padding=1),
        nn.PReLU(_WIDTH // 2),
        nn.ConvTranspose2d(_WIDTH // 2, out_channels, kernel_size=4, stride=2, padding=1),
    )


def _resize(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    return F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)


def _swap_sides(flow: Tensor) -> Tensor:
    """The same two flows with the pictures exchanged: channels (0, 1, 2, 3) become (2, 3, 0, 1)."""
    return torch.cat((flow[:, 2:4], flow[:, :2]), 1)


class _Block(nn.Module):
    """One level: a correction to the flows and to the mask.

    Its 11 input channels are the two warped pictures (3 + 3), the mask (1) and the two flows (4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_conv(11, _WIDTH // 2, stride=2), _conv(_WIDTH // 2, _WIDTH, stride=2))
        self.convblock0 = _residual_pair()
        self.convblock1 = _residual_pair()
        self.convblock2 = _residual_pair()
        self.convblock3 = _residual_pair()
        self.conv1 = _head(4)
        self.conv2 = _head(1)

    def forward(self, pictures: Tensor, flow: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        # Flows are in pixels, so they shrink and grow with the picture. The convolutions run in the precision
        # of the weights, everything around them in float32.
        level = torch.cat((_resize(pictures, 1 / scale), _resize(flow, 1 / scale) / scale), 1)
        # Channels last is what AMX and tensor cores want: a fifth faster in float32, a third in bfloat16.
        level = level.to(next(self.parameters()).dtype, memory_format=torch.channels_last)
        features: Tensor = self.conv0(level)
        for pair in (self.convblock0, self.convblock1, self.convblock2, self.convblock3):
            features = features + pair(features)
        flow_step: Tensor = self.conv1(features)
        mask_step: Tensor = self.conv2(features)
        return _resize(flow_step.float(), scale) * scale, _resize(mask_step.float(), scale)


class IFNet(nn.Module):
    """The halfway network. Evaluation only."""

    def __init__(self) -> None:
        super().__init__()
        self.block0 = _Block()
        self.block1 = _Block()
        self.block2 = _Block()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Make the picture halfway between two.

        Args:
            first, second: float32, shape (1, 3, height, width), RGB in [0, 1], sides multiples of
                `SIZE_MULTIPLE`.

        Returns:
            The same shape and type; values may leave [0, 1] by rounding only.
        """
        grid = _sampling_grid(first)
        both = torch.cat((first, second))
        warped = both
        flow = first.new_zeros(1, 4, *first.shape[2:])
        mask = first.new_zeros(1, 1, *first.shape[2:])
        for block, scale in zip((self.block0, self.block1, self.block2), _LEVEL_SCALES, strict=True):
            # Each level looks at the pair in both orders, as a batch of two, and averages what it sees.
            one, other = warped[:1], warped[1:]
            pictures = torch.cat((torch.cat((one, other, mask), 1), torch.cat((other, one, -mask), 1)))
            flow_step, mask_step = block(pictures, torch.cat((flow, _swap_sides(flow))), scale)
            flow = flow + (flow_step[:1] + _swap_sides(flow_step[1:])) / 2
            mask = mask + (mask_step[:1] - mask_step[1:]) / 2
            warped = _warp(both, torch.cat((flow[:, :2], flow[:, 2:])), grid)
        weight = torch.sigmoid(mask)
        return warped[:1] * weight + warped[1:] * (1 - weight)


def _sampling_grid(image: Tensor) -> Tensor:
    """Where `grid_sample` finds each pixel, shape (1, height, width, 2).

    x then y, from -1 to 1 between the centres of the outermost pixels.
    """
    height, width = image.shape[2:]
    y = torch.linspace(-1, 1, height, device=image.device, dtype=image.dtype)
    x = torch.linspace(-1, 1, width, device=image.device, dtype=image.dtype)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((columns, rows), -1)[None]


def _warp(image: Tensor, flow: Tensor, grid: Tensor) -> Tensor:
    """Fetch each pixel from where its flow (x, y, in pixels) points; the border goes on beyond itself."""
    height, width = image.shape[2:]
    shift = torch.stack((flow[:, 0] * (2 / (width - 1)), flow[:, 1] * (2 / (height - 1))), -1)
    return F.grid_sample(image, grid + shift, mode="bilinear", padding_mode="border", align_corners=True)


def load_ifnet(weights: Path) -> IFNet:
    """Build the network with the published weights, on the CPU, in float32, for evaluation.

    Raises:
        RuntimeError: a tensor is missing, left over or of another shape.
        pickle.UnpicklingError: the file holds anything but tensors.
    """
    published: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    network = IFNet()
    names = {name.removeprefix("module."): tensor for name, tensor in published.items()}
    network.load_state_dict(
        {name: tensor for name, tensor in names.items() if not name.startswith(_TRAINING_ONLY_PREFIX)},
        strict=True,
    )
    return network.eval().requires_grad_(False)
