"""What is used of diffusers' CogVideoXPipeline, and nothing else of it.

The library's own annotations do not name a pipeline's parts, so they stand here; a call of anything that is
not listed fails the type check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypedDict, Unpack

import torch
from PIL import Image

ConvolutionCache = dict[str, torch.Tensor]
"""The last frames that the causal convolutions saw, by layer; opaque to us."""

StepCallback = Callable[[object, int, torch.Tensor, Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]
"""Called after each step with the step's index from 0; what it returns replaces the pipeline's tensors."""


class Tokens(Protocol):
    """A text as numbers."""

    input_ids: list[int]


class Tokenizer(Protocol):
    """T5's tokenizer."""

    def __call__(self, text: str) -> Tokens:
        """Split a text into tokens, end mark included, of whatever length."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Join tokens to a text."""


class Scheduler(Protocol):
    """The noise schedule. Of its settings, only whole numbers are read."""

    config: Mapping[str, int]


class Autoencoder(Protocol):
    """The VAE."""

    config: Mapping[str, float]
    post_quant_conv: Callable[[torch.Tensor], torch.Tensor] | None

    def decoder(
        self, sample: torch.Tensor, *, conv_cache: ConvolutionCache | None
    ) -> tuple[torch.Tensor, ConvolutionCache]:
        """Decode one chunk of scaled latents, (1, channels, latent frames, height, width)."""


class Transformer(Protocol):
    """The denoiser."""

    config: Mapping[str, int | None]


class Output(Protocol):
    """What a pipeline returns."""

    frames: torch.Tensor


class StepArguments(TypedDict):
    """What every pipeline takes. Embeddings have shape (1, tokens, T5 width); sizes are pixels."""

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    use_dynamic_cfg: bool
    generator: torch.Generator
    output_type: str
    callback_on_step_end: StepCallback
    callback_on_step_end_tensor_inputs: list[str]
    max_sequence_length: int


class Pipeline(Protocol):
    """A loaded text-to-video pipeline; an image-to-video one has the same parts."""

    tokenizer: Tokenizer
    text_encoder: torch.nn.Module
    transformer: Transformer
    vae: Autoencoder
    scheduler: Scheduler
    vae_scale_factor_spatial: int

    components: Mapping[str, object]

    @property
    def device(self) -> torch.device:
        """Where it computes: where its first part lies, be it the text encoder or, without one, the autoencoder."""

    def set_progress_bar_config(self, *, disable: bool) -> None:
        """Turn the pipeline's own progress bar off or on."""

    def encode_prompt(
        self, prompt: str, *, do_classifier_free_guidance: bool, max_sequence_length: int, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embed a text, (1, max_sequence_length, T5 width), and with guidance the empty text as well."""

    def __call__(self, *, num_frames: int, **arguments: Unpack[StepArguments]) -> Output:
        """Denoise, and unless `output_type` is `latent`, decode."""

    def load_lora_weights(self, tensors: Mapping[str, torch.Tensor], *, adapter_name: str) -> None:
        """Put an adapter beside the transformer's layers."""

    def set_adapters(self, names: list[str], scales: list[float]) -> None:
        """Choose adapters, and their weights."""

    def unload_lora_weights(self) -> None:
        """Take all adapters away."""

    def maybe_free_model_hooks(self) -> None:
        """Clean up after a call, as one that ends well does itself: offload, and forget step caches."""


class PicturePipeline(Protocol):
    """An image-to-video pipeline."""

    def __call__(self, *, image: Image.Image, num_frames: int, **arguments: Unpack[StepArguments]) -> Output:
        """Denoise beside the latents of the picture that the video begins with."""


class VideoPipeline(Protocol):
    """A video-to-video pipeline made of the same parts."""

    def set_progress_bar_config(self, *, disable: bool) -> None:
        """Turn the pipeline's own progress bar off or on."""

    def __call__(self, *, video: Sequence[Image.Image], strength: float, **arguments: Unpack[StepArguments]) -> Output:
        """Add noise to a video and take it away again: the last `strength` of all steps."""
