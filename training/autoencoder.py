"""The small model's causal 3-D autoencoder: CogVideoX's own, narrower, and how it is trained.

It compresses as CogVideoX-5B's does: 4 times in time, 8 times in height and width, into 16 channels. It is
trained first and longest, since no video gets better than what it can decode.
"""

from __future__ import annotations

from pathlib import Path

import diffusers
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.drawing import Clip, draw_clip
from training.loop import train
from training.scenes import FRAMES, draw_scene

_CROP = 48
_WHOLE = ((96, 64), (64, 96), (64, 64), (112, 64), (64, 112), (64, 48), (48, 64))
_STAGES = (
    # Until this share of the steps: clips, frames, sizes (width, height), cut out of 64 x 64 where they are less.
    # 9 frames are what CogVideoX's autoencoder takes at once; 17 make it hand its cache to a second chunk.
    (0.05, 24, 1, ((_CROP, _CROP),)),
    (0.75, 4, 9, ((_CROP, _CROP),)),
    (1.00, 1, FRAMES, _WHOLE),
)
_KL = 3e-4
"""Weight of the Kullback-Leibler divergence a latent element: little, since a diffusion model follows."""

_ON_SHAPES = 4.0
"""A pixel on or beside a shape weighs so much more than one of the plain background."""


def new_autoencoder() -> diffusers.AutoencoderKLCogVideoX:
    """Make an untrained autoencoder of 2.7 million parameters, with torch's present random state."""
    vae = diffusers.AutoencoderKLCogVideoX(  # type: ignore[no-untyped-call]
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_width=96,
        sample_height=64,
    )
    with torch.no_grad():
        for name, parameter in vae.named_parameters():  # type: ignore[attr-defined]
            # Residual blocks begin as the identity, which halves the steps to the first recognisable picture.
            if ".conv2." in name:
                parameter.zero_()
    return vae


def train_autoencoder(vae: diffusers.AutoencoderKLCogVideoX, *, steps: int, seed: int, checkpoint: Path) -> None:
    """Train the autoencoder in place: single frames first, then 9 frames, then all 17 at every native size.

    The loss is L1 + L2 of pixels in -1 to 1, weighted towards shapes, and a little KL divergence.
    """
    network: nn.Module = vae  # type: ignore[assignment]
    device = next(network.parameters()).device

    def loss_at(step: int) -> torch.Tensor:
        lot = np.random.default_rng([seed, step])
        clips, cover = _batch(lot, step / steps)
        clips, cover = clips.to(device), cover.to(device)
        noise = torch.Generator(device).manual_seed(int(lot.integers(2**62)))
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(clips).latent_dist  # type: ignore[attr-defined]
            decoded = vae.decode(latents.sample(noise)).sample  # type: ignore[attr-defined]
        weight = 1 + _ON_SHAPES * functional.max_pool2d(cover, 5, stride=1, padding=2)[:, None]
        error = (decoded.float() - clips).abs()
        pixels = ((error + error.square()) * weight).sum() / (3 * weight.sum())
        mean, log_variance = latents.mean.float(), latents.logvar.float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss: torch.Tensor = pixels + _KL * divergence
        return loss

    network.train()
    train(network, loss_at, name="autoencoder", steps=steps, learning_rate=2e-3, decay=0.995, checkpoint=checkpoint)
    network.eval()


def _batch(lot: np.random.Generator, progress: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a step's clips `(B, 3, T, H, W)` in -1 to 1, and what their shapes cover `(B, T, H, W)`."""
    _, clips, frames, sizes = next(stage for stage in _STAGES if progress < stage[0])
    width, height = sizes[lot.integers(len(sizes))]
    drawn = []
    for _ in range(clips):
        scene = draw_scene(lot, pairs=0.3, spread=1.0)
        if sizes is _WHOLE:
            drawn.append(draw_clip(scene, width, height))
        else:
            first, top, left = lot.integers((FRAMES - frames + 1, 64 - _CROP + 1, 64 - _CROP + 1))
            part = np.s_[first : first + frames, top : top + _CROP, left : left + _CROP]
            whole = draw_clip(scene, 64, 64)
            drawn.append(Clip(whole.pixels[part], whole.cover[part]))
    pixels = np.stack([clip.pixels for clip in drawn])
    cover = np.stack([clip.cover for clip in drawn])
    return torch.from_numpy(pixels).permute(0, 4, 1, 2, 3) * 2 - 1, torch.from_numpy(cover)
