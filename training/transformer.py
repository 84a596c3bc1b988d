"""The small model's transformer, trained on encoded scenes and their captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import nn
from torch.nn import functional

from inference.prompt_embeddings import MAX_TEXT_TOKENS
from training.captions import caption
from training.latents import EncodedScenes
from training.loop import train
from training.plain_attention import PlainAttention
from training.scenes import FRAMES, Scene
from training.text_encoder import TEXT_WIDTH, tokens

Pipeline = Any
"""`diffusers.CogVideoXPipeline`, which declares none of its parts."""

BATCH = 32
"""Clips of a step."""

_WITHOUT_CAPTION = 0.1
"""Of the clips, how many are shown without their caption, for classifier-free guidance."""

_FIRST_PART = 0.5
"""The share of the steps after which scenes of all kinds are shown."""

_TEXT = 40
"""Tokens of a caption that the transformer sees, the last of them padding that stands for all that there is. The
pipeline gives it 226 and masks no padding, and what was trained with less of it loses shapes and motions there. But the
encoder's states of padding are all but equal, and so many equal keys are one that counts for as many: measured, outputs
then differ by 4e-7 (mean square), at less than half the time."""


def new_pipeline(
    vae: diffusers.AutoencoderKLCogVideoX,
    text_encoder: transformers.T5EncoderModel,
    tokenizer: transformers.T5Tokenizer,
) -> Pipeline:
    """Put an untrained transformer of 4.6 million parameters between a trained autoencoder and a text encoder."""
    transformer = diffusers.CogVideoXTransformer3DModel(  # type: ignore[no-untyped-call]
        num_attention_heads=3,
        attention_head_dim=64,
        num_layers=6,
        text_embed_dim=TEXT_WIDTH,
        time_embed_dim=128,
        max_text_seq_length=MAX_TEXT_TOKENS,
        sample_width=96 // 8,
        sample_height=64 // 8,
        sample_frames=FRAMES,
        use_rotary_positional_embeddings=True,
    )
    scheduler = diffusers.CogVideoXDDIMScheduler(  # type: ignore[no-untyped-call]
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )
    return diffusers.CogVideoXPipeline(  # type: ignore[no-untyped-call]
        tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer, scheduler=scheduler
    )


def train_transformer(
    pipeline: Pipeline,
    data: list[EncodedScenes],
    *,
    steps: int,
    seed: int,
    checkpoint: Path,
    learning_rate: float = 1e-3,
) -> None:
    """Train the transformer in place: v-prediction, plain mean squared error. The text encoder stays as it is."""
    device: torch.device = pipeline.device
    shares = np.array([part.shares for part in data])

    def loss_at(step: int) -> torch.Tensor:
        lot = np.random.default_rng([seed, step])
        progress = step / steps
        part = data[int(lot.choice(len(data), p=shares[:, int(progress >= _FIRST_PART)]))]
        chosen = lot.integers(len(part.scenes), size=BATCH)
        captions = captions_of([part.scenes[place] for place in chosen], lot)
        clean = part.latents[torch.from_numpy(chosen)].to(device)
        timesteps = draw_timesteps(lot, BATCH)
        predicted, target = predict(pipeline, clean, draw_noise(lot, clean), timesteps, captions)
        return functional.mse_loss(predicted, target)

    fit(pipeline, loss_at, name="transformer", steps=steps, checkpoint=checkpoint, learning_rate=learning_rate)


def fit(
    pipeline: Pipeline,
    loss_at: Callable[[int], torch.Tensor],
    *,
    name: str,
    steps: int,
    checkpoint: Path,
    learning_rate: float,
) -> None:
    """Minimise a loss of the transformer, as `loop.train` does."""
    transformer: nn.Module = pipeline.transformer
    transformer.train()
    train(transformer, loss_at, name=name, steps=steps, learning_rate=learning_rate, decay=0.998, checkpoint=checkpoint)
    transformer.eval()


def captions_of(scenes: list[Scene], lot: np.random.Generator) -> list[str]:
    """Word scenes by lot, and now and then not at all."""
    return ["" if lot.random() < _WITHOUT_CAPTION else caption(scene, lot) for scene in scenes]


def draw_timesteps(lot: np.random.Generator, count: int, *, details: bool = False) -> npt.NDArray[np.int64]:
    """Draw time steps, half of them where noise hides nearly all, and what a clip shows is decided.

    For `details` only a quarter, and the others where outlines are drawn.
    """
    early, others_below = (0.25, 800) if details else (0.5, 1000)
    decisive = lot.random(count) < early
    drawn = np.where(decisive, lot.integers(900, 1000, count), lot.integers(0, others_below, count))
    return drawn.astype(np.int64)


def draw_noise(lot: np.random.Generator, like: torch.Tensor) -> torch.Tensor:
    """Draw standard normal noise of the shape and on the device of `like`."""
    generator = torch.Generator(like.device).manual_seed(int(lot.integers(2**62)))
    return torch.randn(like.shape, generator=generator, device=like.device)


def predict(
    pipeline: Pipeline,
    clean: torch.Tensor,
    noise: torch.Tensor,
    timesteps: npt.NDArray[np.int64],
    captions: list[str],
    *,
    beside: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the transformer makes of noisy latents, and what it should: two tensors of velocities.

    Args:
        pipeline: the model in training.
        clean: latents `(batch, latent frames, channels, height / 8, width / 8)`.
        noise: of the shape of `clean`.
        timesteps: how noisy each clip is, from 0 to 999.
        captions: one for each clip; an empty one is what guidance compares with.
        beside: channels beside those of the noisy latents, for a transformer that takes a picture's latents.
    """
    device = clean.device
    at = torch.from_numpy(timesteps).to(device)
    noisy = pipeline.scheduler.add_noise(clean, noise, at)
    target = pipeline.scheduler.get_velocity(clean, noise, at)
    if beside is not None:
        noisy = torch.cat([noisy, beside], dim=2)
    with torch.no_grad():
        text = pipeline.text_encoder(tokens(pipeline.tokenizer, captions).to(device))[0]
    text = torch.cat([text[:, : _TEXT - 1], text[:, -1:]], dim=1)
    _, frames, _, height, width = clean.shape
    rotary = pipeline._prepare_rotary_positional_embeddings(height * 8, width * 8, frames, device)
    with (
        torch.autocast(device.type, torch.bfloat16),
        PlainAttention(key=_TEXT - 1, stands_for=MAX_TEXT_TOKENS - _TEXT + 1),
    ):
        predicted = pipeline.transformer(
            hidden_states=noisy,
            encoder_hidden_states=text,
            timestep=at,
            image_rotary_emb=rotary,
            return_dict=False,
        )[0]
    return predicted.float(), target
