"""From noise, or from a video under noise, to latents: diffusers' pipelines, called the one way that is right here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import diffusers
import torch
from PIL import Image

from inference.model import Frames, Generation, InputError, Progress, SourceVideo, StartPicture
from inference.native_size import Size
from inference.pipeline import Pipeline, StepArguments, VideoPipeline
from inference.prompt_embeddings import MAX_TEXT_TOKENS, PromptEmbedding


class Denoiser:
    """The pipelines of one model: they share all of its parts."""

    def __init__(self, pipeline: Pipeline, *, num_frames: int, dynamic_guidance: bool) -> None:
        """Take a pipeline that lies on its device.

        `num_frames` is the length of each clip; `dynamic_guidance` turns on diffusers' `use_dynamic_cfg`.
        """
        self._from_noise = pipeline
        self._num_frames = num_frames
        self._dynamic_guidance = dynamic_guidance
        from_video = diffusers.CogVideoXVideoToVideoPipeline(  # type: ignore[no-untyped-call]
            tokenizer=pipeline.tokenizer,
            text_encoder=pipeline.text_encoder,
            vae=pipeline.vae,
            transformer=pipeline.transformer,
            scheduler=pipeline.scheduler,
        )
        self._from_video = cast(VideoPipeline, from_video)
        self._from_video.set_progress_bar_config(disable=True)

    def steps(self, generation: Generation) -> int:
        """How many steps are taken: of a source video's, only the last ones, as many as its strength says.

        Raises:
            InputError: none would be, or the model takes no start of this kind.
        """
        asked = generation.num_inference_steps
        match generation.start:
            case None:
                return asked
            case SourceVideo(strength=strength):
                # 0.7 is a float of 32 bits on its way here, and slightly less: 7 of 10 steps are meant.
                taken = min(int(asked * strength + 1e-4), asked)
                if taken < 1:
                    raise InputError(
                        "video_to_video.strength",
                        f"must be at least 1 / num_inference_steps, {1 / asked:.3g}: no step would be taken",
                    )
                return taken
            case StartPicture():
                raise InputError("image_to_video.image", "this model begins with no picture")

    def denoise(
        self,
        generation: Generation,
        size: Size,
        prompt: PromptEmbedding,
        negative: PromptEmbedding,
        progress: Progress,
    ) -> torch.Tensor:
        """Return latents of shape (1, latent frames, channels, height / 8, width / 8) on the device.

        Raises:
            CancelledError: out of `progress`.
            InputError: see `steps`.
        """
        steps = self.steps(generation)
        device = self._from_noise.device

        def after_step(
            _: object, index: int, __: torch.Tensor, ___: Mapping[str, torch.Tensor]
        ) -> dict[str, torch.Tensor]:
            if device.type == "cuda":
                # Kernels are queued ahead of time; a step is done when the device has done it.
                torch.cuda.synchronize(device)
            # Cancellation is an exception from here: the pipeline's own `_interrupt` would still go through
            # the remaining steps' loop and hand on half-denoised latents as a result.
            progress.step(index + 1)
            return {}

        arguments: StepArguments = {
            "prompt_embeds": prompt.hidden_states.to(device),
            "negative_prompt_embeds": negative.hidden_states.to(device),
            "width": size.width,
            "height": size.height,
            "num_inference_steps": generation.num_inference_steps,
            "guidance_scale": generation.guidance_scale,
            "use_dynamic_cfg": self._dynamic_guidance,
            # On the CPU whatever the device: the same noise everywhere.
            "generator": torch.Generator("cpu").manual_seed(generation.seed),
            "output_type": "latent",
            "callback_on_step_end": after_step,
            "callback_on_step_end_tensor_inputs": [],
            "max_sequence_length": MAX_TEXT_TOKENS,
        }
        try:
            if isinstance(generation.start, SourceVideo):
                video = self._fitted(generation.start.frames, size, progress)
                # The pipeline rounds down; half a step more keeps it from taking one less.
                strength = min((steps + 0.5) / generation.num_inference_steps, 1.0)
                return self._from_video(video=video, strength=strength, **arguments).frames
            return self._from_noise(num_frames=self._num_frames, **arguments).frames
        finally:
            # An exception skips the pipeline's own clean-up, and what step caches remember of this request
            # would flow into the next one. This resets them too.
            self._from_noise.maybe_free_model_hooks()

    def _fitted(self, frames: Frames, size: Size, progress: Progress) -> list[Image.Image]:
        """As many frames as a clip has, at the size it is denoised at: the first ones, or the last one again."""
        if len(frames) > self._num_frames:
            progress.log(f"Of {len(frames)} frames the first {self._num_frames} are used: the model makes no more.")
        # Stretched, since the finished video is stretched back.
        fitted = [Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS) for frame in frames[: self._num_frames]]
        return fitted + fitted[-1:] * (self._num_frames - len(fitted))
