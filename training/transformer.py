"""The small model's transformer and text encoder, trained together on encoded scenes and their captions."""

from __future__ import annotations

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
from training.scenes import FRAMES
from training.tokenizer import new_tokenizer

Pipeline = Any
"""`diffusers.CogVideoXPipeline`, which declares none of its parts."""

_TEXT_WIDTH = 64
_BATCH = 32
_WITHOUT_CAPTION = 0.1
"""Of the clips, how many are shown without their caption, for classifier-free guidance."""

_SHORT_TEXT = (0.6, 48)
"""Until this share of the steps captions have so few tokens, since that is fast. The rest is trained as the pipeline
runs: it masks no padding, and a transformer that never saw 226 tokens loses its way among them."""


def new_pipeline(vae: diffusers.AutoencoderKLCogVideoX) -> Pipeline:
    """Put an untrained transformer of 1.7 million parameters and a text encoder around a trained autoencoder."""
    tokenizer = new_tokenizer()
    text_encoder = transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(tokenizer),
            d_model=_TEXT_WIDTH,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )
    transformer = diffusers.CogVideoXTransformer3DModel(  # type: ignore[no-untyped-call]
        num_attention_heads=4,
        attention_head_dim=32,
        num_layers=4,
        text_embed_dim=_TEXT_WIDTH,
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
    pipeline: Pipeline, data: list[EncodedScenes], *, steps: int, seed: int, checkpoint: Path
) -> None:
    """Train the transformer and the text encoder in place: v-prediction, plain mean squared error."""
    parts = nn.ModuleDict({"transformer": pipeline.transformer, "text_encoder": pipeline.text_encoder})
    device = next(parts.parameters()).device
    shares = np.array([part.share for part in data])

    def loss_at(step: int) -> torch.Tensor:
        lot = np.random.default_rng([seed, step])
        part = data[int(lot.choice(len(data), p=shares / shares.sum()))]
        chosen = lot.integers(len(part.scenes), size=_BATCH)
        captions = ["" if lot.random() < _WITHOUT_CAPTION else caption(part.scenes[scene], lot) for scene in chosen]
        clean = part.latents[torch.from_numpy(chosen)].to(device)
        generator = torch.Generator(device).manual_seed(int(lot.integers(2**62)))
        noise = torch.randn(clean.shape, generator=generator, device=device)
        timesteps = torch.from_numpy(_timesteps(lot)).to(device)
        noisy = pipeline.scheduler.add_noise(clean, noise, timesteps)
        target = pipeline.scheduler.get_velocity(clean, noise, timesteps)
        length = _SHORT_TEXT[1] if step / steps < _SHORT_TEXT[0] else MAX_TEXT_TOKENS
        ids = pipeline.tokenizer(
            captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        _, frames, _, height, width = clean.shape
        rotary = pipeline._prepare_rotary_positional_embeddings(height * 8, width * 8, frames, device)
        with torch.autocast(device.type, torch.bfloat16):
            predicted = pipeline.transformer(
                hidden_states=noisy,
                # No mask, as in the pipeline.
                encoder_hidden_states=pipeline.text_encoder(ids.to(device))[0],
                timestep=timesteps,
                image_rotary_emb=rotary,
                return_dict=False,
            )[0]
        return functional.mse_loss(predicted.float(), target)

    parts.train()
    train(parts, loss_at, name="transformer", steps=steps, learning_rate=1.5e-3, decay=0.998, checkpoint=checkpoint)
    parts.eval()


def _timesteps(lot: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw time steps: a quarter of them from the noisiest fifth, where what a clip shows is decided."""
    noisiest = lot.random(_BATCH) < 0.2
    return np.where(noisiest, lot.integers(800, 1000, _BATCH), lot.integers(0, 1000, _BATCH)).astype(np.int64)
