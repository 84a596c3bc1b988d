"""CogVideoX pipelines of random weights: right for time and memory, not for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers

from inference.prompt_embeddings import MAX_TEXT_TOKENS
from training.tokenizer import new_tokenizer


@dataclass(frozen=True)
class Extent:
    """What a pipeline has and makes: the published numbers of CogVideoX-5B, or few of everything."""

    heads: int
    head_width: int
    layers: int
    text_width: int
    text_layers: int
    text_heads: int
    text_inner: int
    autoencoder_channels: tuple[int, ...]
    autoencoder_layers: int
    width: int
    height: int
    frames: int

    @property
    def latent_frames(self) -> int:
        """How many latent frames there are: the first frame alone, then fours."""
        return (self.frames - 1) // 4 + 1

    @property
    def tokens(self) -> int:
        """What the transformer attends over: the text, and patches of 16 by 16 pixels of each latent frame."""
        return MAX_TEXT_TOKENS + self.latent_frames * (self.width // 16) * (self.height // 16)

    @property
    def model_width(self) -> int:
        """Channels of the transformer."""
        return self.heads * self.head_width


FULL = Extent(48, 64, 42, 4096, 24, 64, 10240, (128, 256, 256, 512), 3, 720, 480, 49)
"""zai-org/CogVideoX-5b, by the configuration files of its repository."""

SMALL = Extent(2, 16, 2, 32, 1, 2, 64, (8, 8, 8, 8), 1, 64, 48, 9)
"""To see on any machine that the benchmark runs."""


def random_pipeline(extent: Extent, device: torch.device, dtype: torch.dtype) -> Any:
    """Build a CogVideoX text-to-video pipeline on a device, its weights drawn there and nothing read or fetched."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            text_encoder = transformers.T5EncoderModel(
                transformers.T5Config(
                    vocab_size=32128,
                    d_model=extent.text_width,
                    d_kv=extent.text_width // extent.text_heads,
                    d_ff=extent.text_inner,
                    num_layers=extent.text_layers,
                    num_heads=extent.text_heads,
                    feed_forward_proj="gated-gelu",
                )
            )
            transformer = diffusers.CogVideoXTransformer3DModel(  # type: ignore[no-untyped-call]
                num_attention_heads=extent.heads,
                attention_head_dim=extent.head_width,
                num_layers=extent.layers,
                text_embed_dim=extent.text_width,
                max_text_seq_length=MAX_TEXT_TOKENS,
                sample_width=extent.width // 8,
                sample_height=extent.height // 8,
                sample_frames=extent.frames,
                use_rotary_positional_embeddings=True,
            )
            vae = diffusers.AutoencoderKLCogVideoX(  # type: ignore[no-untyped-call]
                block_out_channels=extent.autoencoder_channels,
                layers_per_block=extent.autoencoder_layers,
                latent_channels=16,
                norm_num_groups=min(32, extent.autoencoder_channels[0] // 4),
                scaling_factor=0.7,
            )
    finally:
        torch.set_default_dtype(before)
    scheduler = diffusers.CogVideoXDDIMScheduler(  # type: ignore[no-untyped-call]
        prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=1.0, timestep_spacing="trailing"
    )
    pipeline: Any = diffusers.CogVideoXPipeline(  # type: ignore[no-untyped-call]
        tokenizer=new_tokenizer(),
        text_encoder=text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=scheduler,
    )
    for part in (pipeline.text_encoder, pipeline.transformer, pipeline.vae):
        part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
