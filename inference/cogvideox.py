"""CogVideoX by diffusers, as a `VideoModel`.

Finding and checking files is left to `weights`, loading to `cogvideox_loading`, the steps to `denoising`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch

from inference.adapters import applied
from inference.denoising import Denoiser
from inference.model import (
    Chunks,
    Clip,
    DeviceError,
    Generation,
    InputError,
    ModelIdentity,
    Progress,
    Stage,
)
from inference.native_size import Size, nearest_native_size
from inference.offloading import Offload, Residence
from inference.pipeline import Pipeline
from inference.prompt_embeddings import MAX_TEXT_TOKENS, PromptEmbedding, PromptEmbeddings
from inference.streaming_decode import decode_chunks, latent_chunks

MAX_SEED = 2**63 - 1
"""The largest seed that every torch generator takes."""

_CUT_TEXT_SHOWN = 200  # characters of a cut prompt that fit a log line


class CogVideoXModel:
    """A CogVideoX pipeline on one device, ready to make one clip at a time.

    The same generation gives the same frames, byte for byte, on the same weights, software and kind of
    device, whatever was made, cancelled or refused before.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        identity: ModelIdentity,
        *,
        num_frames: int,
        native_sizes: Sequence[Size] = (),
        dynamic_guidance: bool = False,
        cpu_threads: int = 1,
        residence: Residence | None = None,
    ) -> None:
        """Take over a loaded pipeline, with its `residence` if not all of it lies on its device.

        `num_frames` is the length of each clip, of the form 8 k + 1. `native_sizes` are those the model was
        trained for: a request is denoised at the nearest one (see `nearest_native_size`). Without any, it is
        denoised at the size it asks for. `dynamic_guidance` turns on diffusers' `use_dynamic_cfg`.
        `cpu_threads` is how many threads torch computes with where the device is a CPU: fixed, since
        matrices are divided among them and another division may round otherwise (measured: 1, 2 and 4
        agree, 3 differs).

        Raises:
            ValueError: `num_frames` or a native size is not possible for the model.
        """
        # The VAE shrinks by 8, the transformer takes patches of 2 by 2. Diffusers checks the former only.
        self._multiple = pipeline.vae_scale_factor_spatial * (pipeline.transformer.config["patch_size"] or 1)
        if num_frames < 1 or num_frames % 8 != 1:
            # An even number of latent frames decodes to frames of another count.
            raise ValueError(f"num_frames must be 8 k + 1, such as 49, but is {num_frames}")
        for size in native_sizes:
            if size.width < 1 or size.width % self._multiple or size.height < 1 or size.height % self._multiple:
                raise ValueError(f"native size {size} is not in multiples of {self._multiple}")
        self._pipeline = pipeline
        self._identity = identity
        self._num_frames = num_frames
        self._residence = residence or Residence(pipeline.device)
        self._denoiser = Denoiser(pipeline, num_frames=num_frames, dynamic_guidance=dynamic_guidance)
        self._native_sizes = tuple(native_sizes)
        self._cpu_threads = cpu_threads
        self._embeddings = PromptEmbeddings(pipeline, self._residence)

    @property
    def identity(self) -> ModelIdentity:
        """Which weights these are."""
        return self._identity

    @property
    def offload(self) -> Offload:
        """Whether parts of it wait in the machine's memory."""
        return self._residence.offload

    @property
    def input_kinds(self) -> frozenset[str]:
        """What it makes videos from."""
        return self._denoiser.input_kinds

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        """Make the clip: embed the prompts, denoise, and decode as its chunks are taken.

        A prompt longer than 226 tokens is cut, as CogVideoX's is, and the request's log says so.

        Raises, here or when a chunk is taken:
            CancelledError: out of `progress`; the model is as before.
            InputError: the size is not possible for a model without native sizes, the seed, the number of steps
                or the guidance scale is out of range, or the model makes no videos from this.
            DeviceError: the device is lost or out of memory.
        """
        self._check(generation)
        size, steps = self._denoising_size(generation), self._denoiser.steps(generation)
        with _device_faults(), self._fixed_threads():
            with progress.stage(Stage.PREPARE):
                prompt = self._embed("prompt", generation.prompt, progress)
                negative = self._embed("negative_prompt", generation.negative_prompt, progress)
            with progress.stage(Stage.DENOISE, total=steps):
                if size != (generation.width, generation.height):
                    progress.log(f"Denoising at {size.width}x{size.height}, the nearest native size.")
                transformer = cast(torch.nn.Module, self._pipeline.transformer)
                with self._residence.of(transformer), applied(self._pipeline, generation.lora):
                    latents = self._denoiser.denoise(generation, size, prompt, negative, progress)
        return Clip(self._num_frames, size.width, size.height, self._decoded(latents, progress))

    @contextmanager
    def _fixed_threads(self) -> Iterator[None]:
        if self._residence.device.type != "cpu":
            yield
            return
        before = torch.get_num_threads()
        # Here rather than at loading, because it holds for the calling thread.
        torch.set_num_threads(self._cpu_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _check(self, generation: Generation) -> None:
        if not 0 <= generation.seed <= MAX_SEED:
            raise InputError("seed", f"must be from 0 to {MAX_SEED}")
        training_steps = self._pipeline.scheduler.config["num_train_timesteps"]
        if not 1 <= generation.num_inference_steps <= training_steps:
            raise InputError("num_inference_steps", f"must be from 1 to {training_steps}")
        if not np.isfinite(generation.guidance_scale):
            raise InputError("guidance_scale", "must be a finite number")

    def _denoising_size(self, generation: Generation) -> Size:
        requested = Size(generation.width, generation.height)
        if requested.width < 1 or requested.height < 1:
            raise InputError("video_size", "width and height must be positive")
        if self._native_sizes:
            return nearest_native_size(requested, self._native_sizes)
        if requested.width % self._multiple or requested.height % self._multiple:
            raise InputError("video_size", f"width and height must be multiples of {self._multiple}")
        return requested

    def _embed(self, field: str, text: str, progress: Progress) -> PromptEmbedding:
        progress.check()
        embedding = self._embeddings.embed(text)
        if embedding.cut:
            shown = embedding.cut[:_CUT_TEXT_SHOWN] + "…" * (len(embedding.cut) > _CUT_TEXT_SHOWN)
            progress.log(
                f"{field} has {embedding.tokens} tokens; the model reads the first {MAX_TEXT_TOKENS - 1} "
                f"and an end mark. Not read: {shown}",
                level="WARN",
            )
        return embedding

    def _decoded(self, latents: torch.Tensor, progress: Progress) -> Chunks:
        chunks, total = decode_chunks(self._pipeline.vae, latents), len(latent_chunks(latents.shape[1]))
        for done in range(1, total + 1):
            with _device_faults(), self._fixed_threads(), progress.stage(Stage.DECODE, total=total):
                chunk = next(chunks)
                progress.step(Stage.DECODE, done)
            yield chunk


@contextmanager
def _device_faults() -> Iterator[None]:
    """Turn what torch raises when a device fails into `DeviceError`."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
        raise DeviceError(str(error)) from error
    except RuntimeError as error:
        # cuDNN, cuBLAS and the CPU's allocator have no exception type of their own.
        if any(mark in str(error) for mark in ("CUDA", "cuDNN", "CUDNN", "CUBLAS", "can't allocate memory")):
            raise DeviceError(str(error)) from error
        raise
