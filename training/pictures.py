"""The variant for start pictures: the trained transformer, which then sees a picture's latents beside the noise."""

from __future__ import annotations

from pathlib import Path

import diffusers
import numpy as np
import torch
from torch.nn import functional

from training.latents import EncodedScenes
from training.transformer import BATCH, Pipeline, captions_of, draw_noise, draw_timesteps, fit, predict

_DETAILS = 0.35
"""The share of the steps after which most show clips with less noise: the shape is in the picture, and its outline is
what remains to be kept."""


def picture_pipeline(pipeline: Pipeline) -> Pipeline:
    """Widen a trained model's transformer by the channels of a picture, which count nothing yet.

    As in CogVideoX-5B-I2V: the picture's latents lie beside the first latent frame, zeros beside the others.
    """
    narrow = pipeline.transformer
    config = dict(narrow.config) | {"in_channels": 2 * narrow.config.in_channels}
    config.pop("_use_default_values", None)  # which would have it at its default again
    wide = diffusers.CogVideoXTransformer3DModel.from_config(config).to(narrow.device)  # type: ignore[no-untyped-call]
    projection = torch.zeros_like(wide.patch_embed.proj.weight)
    projection[:, : narrow.config.in_channels] = narrow.patch_embed.proj.weight.detach()
    wide.load_state_dict(narrow.state_dict() | {"patch_embed.proj.weight": projection})
    parts = {name: getattr(pipeline, name) for name in ("tokenizer", "text_encoder", "vae", "scheduler")}
    return diffusers.CogVideoXImageToVideoPipeline(transformer=wide, **parts)  # type: ignore[no-untyped-call]


def train_on_pictures(
    pipeline: Pipeline,
    data: list[EncodedScenes],
    pictures: list[torch.Tensor],
    *,
    steps: int,
    seed: int,
    checkpoint: Path,
    learning_rate: float = 8e-4,
) -> None:
    """Train the widened transformer in place, to go on from the first frame of each clip.

    Args:
        pipeline: what `picture_pipeline` returned.
        data: scenes of all kinds with their latents.
        pictures: for each part of `data`, the latents of its clips' first frames (see `encode_first_frames`).
    """
    device: torch.device = pipeline.device
    shares = np.array([part.shares[1] for part in data])
    shares /= shares.sum()

    def loss_at(step: int) -> torch.Tensor:
        lot = np.random.default_rng([seed, step])
        number = int(lot.choice(len(data), p=shares))
        places = lot.integers(len(data[number].scenes), size=BATCH)
        captions = captions_of([data[number].scenes[place] for place in places], lot)
        clean = data[number].latents[torch.from_numpy(places)].to(device)
        beside = torch.zeros_like(clean)
        beside[:, :1] = pictures[number][torch.from_numpy(places)].to(device)
        noise, timesteps = draw_noise(lot, clean), draw_timesteps(lot, BATCH, details=step >= _DETAILS * steps)
        predicted, target = predict(pipeline, clean, noise, timesteps, captions, beside=beside)
        return functional.mse_loss(predicted, target)

    fit(pipeline, loss_at, name="pictures", steps=steps, checkpoint=checkpoint, learning_rate=learning_rate)
