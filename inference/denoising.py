"""From noise, beside a picture or over a video, to latents: diffusers' pipelines, called the way that is right here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import diffusers
import torch
from PIL import Image

from inference.model import Frames, Generation, InputError, Picture, Progress, SourceVideo, Stage, StartPicture
from inference.native_size import Size
from inference.pipeline import PicturePipeline, Pipeline, StepArguments, VideoPipeline
from inference.prompt_embeddings import MAX_TEXT_TOKENS, PromptEmbedding

_FIELDS = {type(None): "text_to_video", StartPicture: "image_to_video.image", SourceVideo: "video_to_video.video"}


class Denoiser:
    """The pipelines of one model: they share all of its parts.

    A model for start pictures has weights of its own: its transformer takes the picture's latents beside the noise.
    """

    def __init__(self, pipeline: Pipeline, *, num_frames: int, dynamic_guidance: bool) -> None:
        """Take the parts of a pipeline; the transformer must be where the autoencoder is when `denoise` is called.

        `num_frames` is the length of each clip; `dynamic_guidance` turns on diffusers' `use_dynamic_cfg`.
        """
        parts = dict(pipeline.components) | {"text_encoder": None}  # which is not used, and may lie on another device
        self._pipeline = type(pipeline)(**parts)
        self._pipeline.set_progress_bar_config(disable=True)
        self._num_frames = num_frames
        self._dynamic_guidance = dynamic_guidance
        self._takes_picture = pipeline.transformer.config["in_channels"] == 2 * pipeline.vae.config["latent_channels"]
        if not self._takes_picture:
            from_video = diffusers.CogVideoXVideoToVideoPipeline(**parts)  # type: ignore[no-untyped-call]
            self._from_video = cast(VideoPipeline, from_video)
            self._from_video.set_progress_bar_config(disable=True)

    @property
    def input_kinds(self) -> frozenset[str]:
        """What it makes videos from: the names of `SubmitRequest.input`."""
        return frozenset({"image_to_video"} if self._takes_picture else {"text_to_video", "video_to_video"})

    def steps(self, generation: Generation) -> int:
        """How many steps are taken: of a source video's, only the last ones, as many as its strength says.

        Raises:
            InputError: none would be, or the model makes no videos from this.
        """
        asked, start = generation.num_inference_steps, generation.start
        if isinstance(start, StartPicture) != self._takes_picture:
            kinds = " and ".join(sorted(self.input_kinds))
            raise InputError(_FIELDS[type(start)], f"this model takes {kinds}")
        if not isinstance(start, SourceVideo):
            return asked
        # 0.7 is a float of 32 bits on its way here, and slightly less: 7 of 10 steps are meant.
        taken = min(int(asked * start.strength + 1e-4), asked)
        if taken < 1:
            raise InputError(
                "video_to_video.strength",
                f"must be at least 1 / num_inference_steps, {1 / asked:.3g}: no step would be taken",
            )
        return taken

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
        device = self._pipeline.device

        def after_step(
            _: object, index: int, __: torch.Tensor, ___: Mapping[str, torch.Tensor]
        ) -> dict[str, torch.Tensor]:
            if device.type == "cuda":
                # Kernels are queued ahead of time; a step is done when the device has done it.
                torch.cuda.synchronize(device)
            # Cancellation is an exception from here: the pipeline's own `_interrupt` would still go through
            # the remaining steps' loop and hand on half-denoised latents as a result.
            progress.step(Stage.DENOISE, index + 1)
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
            match generation.start:
                case SourceVideo(frames):
                    video = self._fitted(frames, size, progress)
                    # The pipeline rounds down; half a step more keeps it from taking one less.
                    strength = min((steps + 0.5) / generation.num_inference_steps, 1.0)
                    return self._from_video(video=video, strength=strength, **arguments).frames
                case StartPicture(pixels):
                    from_picture = cast(PicturePipeline, self._pipeline)
                    image = _resized(pixels, size)
                    return from_picture(image=image, num_frames=self._num_frames, **arguments).frames
                case None:
                    return self._pipeline(num_frames=self._num_frames, **arguments).frames
        finally:
            # An exception skips the pipeline's own clean-up, and what step caches remember of this request
            # would flow into the next one. This resets them too.
            self._pipeline.maybe_free_model_hooks()

    def _fitted(self, frames: Frames, size: Size, progress: Progress) -> list[Image.Image]:
        """As many frames as a clip has, at the size it is denoised at: the first ones, or the last one again."""
        if len(frames) > self._num_frames:
            progress.log(f"Of {len(frames)} frames the first {self._num_frames} are used: the model makes no more.")
        fitted = [_resized(frame, size) for frame in frames[: self._num_frames]]
        return fitted + fitted[-1:] * (self._num_frames - len(fitted))


def _resized(picture: Picture, size: Size) -> Image.Image:
    """A picture at the size that is denoised at: stretched, since the finished video is stretched back."""
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
