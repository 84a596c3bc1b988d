"""Decoding latents to frames a few at a time, so that decoding shows progress and can be cancelled."""

from __future__ import annotations

import torch

from inference.model import Chunks, Frames
from inference.pipeline import Autoencoder, ConvolutionCache


def latent_chunks(latent_frames: int) -> list[range]:
    """Split latent frames as the VAE itself does: pairs, the first one with the odd frame, if there is one.

    CogVideoX compresses four frames into one latent frame, and the very first latent frame holds one frame
    alone, so that 13 latent frames give chunks of 9, 8, 8, 8, 8 and 8 frames. The VAE's group
    normalisation is over a chunk: with other chunks the pixels would differ.
    """
    first = latent_frames % 2 + 2 if latent_frames > 1 else 1
    ends = range(first, latent_frames + 1, 2)
    return [range(0 if end == first else end - 2, end) for end in ends]


@torch.no_grad()
def decode_chunks(vae: Autoencoder, latents: torch.Tensor) -> Chunks:
    """Decode latents chunk by chunk, as `latent_chunks` splits them.

    `latents` is what the pipeline returns for `output_type="latent"`, of shape (1, latent frames, channels,
    height / 8, width / 8). The frames are byte-identical to those of the pipeline's own decoding, in the
    same dtype: the causal convolutions carry their cache from chunk to chunk here as they do there.
    """
    scaled = 1 / vae.config["scaling_factor"] * latents.permute(0, 2, 1, 3, 4)
    cache: ConvolutionCache | None = None
    for chunk in latent_chunks(scaled.shape[2]):
        latent = scaled[:, :, chunk.start : chunk.stop]
        if vae.post_quant_conv is not None:
            latent = vae.post_quant_conv(latent)
        decoded, cache = vae.decoder(latent, conv_cache=cache)
        yield _to_frames(decoded)


def _to_frames(decoded: torch.Tensor) -> Frames:
    """Turn (1, 3, frames, height, width) in [-1, 1] into uint8 (frames, height, width, 3)."""
    # In the order of diffusers' VideoProcessor, half-way roundings in bf16 included.
    unit = (decoded[0] * 0.5 + 0.5).clamp(0, 1).float()
    pixels = (unit * 255).round().to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
