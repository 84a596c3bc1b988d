"""Whether the small model's clips show what their prompts say: prompts it never saw, judged by pixels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.cogvideox import CogVideoXModel
from inference.cogvideox_loading import Sampler, load_cogvideox
from inference.model import Frames, Generation, Picture, SilentProgress, StartPicture, VideoModel
from inference.native_size import Size
from inference.profiles import EXACT, Profile
from inference.small_model import (
    SMALL_DIRECTORY,
    SMALL_FRAMES,
    SMALL_I2V_DIRECTORY,
    SMALL_I2V_NAME,
    SMALL_I2V_REVISION,
    SMALL_NAME,
    SMALL_NATIVE_SIZES,
    SMALL_REVISION,
)
from training.captions import caption
from training.drawing import draw_clip
from training.pixels import Verdict
from training.scenes import ALONG, Motion, Scene, draw_scene

DEFAULT_SIZE = Size(96, 64)
DEFAULT_STEPS = 20
DEFAULT_GUIDANCE = 3.0


@dataclass(frozen=True)
class Sample:
    """A prompt, the scene that it describes, and a seed to make it with; perhaps a picture that it begins with."""

    prompt: str
    scene: Scene
    seed: int
    picture: Picture | None = None


def held_out_samples(count: int, *, seed: int = 0, pairs: float = 0.0) -> list[Sample]:
    """Draw prompts for combinations of shape, colour, motion and background that training never sees."""
    lot = np.random.default_rng([2026, seed])
    samples = []
    for number in range(count):
        scene = draw_scene(lot, pairs=pairs, tests=True)
        samples.append(Sample(caption(scene, lot, complete=True), scene, seed * 1_000_000 + number))
    return samples


def with_picture(sample: Sample, size: Size = DEFAULT_SIZE) -> Sample:
    """The sample of a scene that begins with a picture, which shows all of it but how it moves."""
    shapes = tuple(replace(shape, begins_there=True) for shape in sample.scene.shapes)
    scene = replace(sample.scene, shapes=shapes)
    picture = np.rint(draw_clip(scene, size.width, size.height).pixels[0] * 255).astype(np.uint8)
    return replace(sample, scene=scene, picture=picture)


def load_small_model(
    sampler: Sampler = Sampler.MODEL_CARD, profile: Profile = EXACT, *, pictures: bool = False, cpu_threads: int = 1
) -> CogVideoXModel:
    """Load the small model, or its variant for start pictures, as a worker does.

    Clips are the same on one thread and on two.
    """
    directory, name, revision = (
        (SMALL_I2V_DIRECTORY, SMALL_I2V_NAME, SMALL_I2V_REVISION)
        if pictures
        else (SMALL_DIRECTORY, SMALL_NAME, SMALL_REVISION)
    )
    return load_cogvideox(
        str(directory),
        name=name,
        revision=revision,
        device="cpu",
        num_frames=SMALL_FRAMES,
        native_sizes=SMALL_NATIVE_SIZES,
        sampler=sampler,
        profile=profile,
        cpu_threads=cpu_threads,
    )


def clip_of(
    model: VideoModel,
    prompt: str,
    seed: int,
    *,
    size: Size = DEFAULT_SIZE,
    steps: int = DEFAULT_STEPS,
    guidance: float = DEFAULT_GUIDANCE,
    negative_prompt: str = "",
    picture: Picture | None = None,
) -> Frames:
    """Generate a clip; what is left out is as on the model's card."""
    generation = Generation(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=size.width,
        height=size.height,
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=seed,
        use_rife=False,
        export_fps=8,
        start=None if picture is None else StartPicture(picture),
    )
    return model.generate(generation, SilentProgress()).frames()


def shares(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The share of clips that have each trait right; `direction` counts the scenes that go somewhere."""

    def going(sample: Sample) -> bool:
        return all(shape.motion in ALONG for shape in sample.scene.shapes)

    directions = [verdict.motion for sample, verdict in zip(samples, verdicts, strict=True) if going(sample)]
    return {
        "background": _mean([verdict.background for verdict in verdicts]),
        "color": _mean([verdict.color for verdict in verdicts]),
        "shape": _mean([verdict.shape for verdict in verdicts]),
        "motion": _mean([verdict.motion for verdict in verdicts]),
        "direction": _mean(directions),
        "all": _mean([verdict.all for verdict in verdicts]),
    }


def by_motion(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[Motion, float]:
    """The share of clips of one shape that move as they should, for each motion."""
    found: dict[Motion, list[bool]] = {}
    for sample, verdict in zip(samples, verdicts, strict=True):
        found.setdefault(sample.scene.shapes[0].motion, []).append(verdict.motion)
    return {motion: _mean(found[motion]) for motion in Motion if motion in found}


def _mean(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
