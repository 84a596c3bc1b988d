"""Video to video on the small model's weights: the source stays, as far as its strength says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from inference.cogvideox import CogVideoXModel
from inference.model import Frames, Generation, InputError, SourceVideo, Stage, StartPicture
from inference.native_size import Size
from tests.inference.progress import RecordingProgress
from training.adherence import DEFAULT_SIZE, load_small_model
from training.drawing import draw_clip
from training.pixels import look_at
from training.scenes import FRAMES, Motion, MovingShape, Scene, Shape
from training.scenes import Size as Extent

GENERATION = Generation(
    prompt="A large yellow circle rests over a blue background.",
    negative_prompt="",
    width=96,
    height=64,
    num_inference_steps=10,
    guidance_scale=2.0,
    seed=11,
    use_rife=False,
    export_fps=8,
)


def drawn(frames: int = FRAMES, size: Size = DEFAULT_SIZE) -> Frames:
    scene = Scene("blue", (MovingShape(Shape.CIRCLE, "red", Extent.LARGE, Motion.STILL),))
    clip = draw_clip(scene, size.width, size.height, frames)
    return np.rint(clip.pixels * 255).astype(np.uint8)


def from_video(source: Frames, strength: float, **changes: object) -> Generation:
    return replace(GENERATION, start=SourceVideo(source, strength), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> CogVideoXModel:
    return load_small_model()


def frames_of(model: CogVideoXModel, generation: Generation) -> Frames:
    return model.generate(generation, RecordingProgress()).frames()


def test_frames_are_those_of_the_stock_pipeline(model: CogVideoXModel, small_model_directory: Path) -> None:
    stock = diffusers.CogVideoXVideoToVideoPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        small_model_directory, dtype=torch.float32
    )
    stock.set_progress_bar_config(disable=True)
    made = stock(
        video=[Image.fromarray(frame) for frame in drawn()],
        prompt=GENERATION.prompt,
        negative_prompt="",
        width=96,
        height=64,
        strength=0.8,
        num_inference_steps=GENERATION.num_inference_steps,
        guidance_scale=GENERATION.guidance_scale,
        generator=torch.Generator().manual_seed(GENERATION.seed),
        output_type="pil",
    )
    expected = np.stack([np.asarray(picture) for picture in made.frames[0]])
    np.testing.assert_array_equal(frames_of(model, from_video(drawn(), 0.8)), expected)


def test_strength_moves_the_clip_away_from_its_source(model: CogVideoXModel) -> None:
    source = drawn().astype(float)
    away = [np.abs(frames_of(model, from_video(drawn(), strength)) - source).mean() for strength in (0.2, 0.6, 1.0)]
    assert away[0] < away[1] < away[2]


def test_little_strength_keeps_what_is_seen_and_full_strength_shows_the_prompt(model: CogVideoXModel) -> None:
    kept, made = (look_at(frames_of(model, from_video(drawn(), strength))) for strength in (0.2, 1.0))
    assert (kept.background, kept.color, kept.shape) == ("blue", "red", Shape.CIRCLE)
    assert (made.background, made.color) == ("blue", "yellow")


@pytest.mark.parametrize("strength", [float(np.float32(0.7)), 0.7, 0.75])
def test_as_many_steps_are_taken_as_the_strength_says(model: CogVideoXModel, strength: float) -> None:
    progress = RecordingProgress()
    model.generate(from_video(drawn(), strength), progress).frames()
    assert (Stage.DENOISE, 7) in progress.stages
    assert [step for stage, step in progress.steps if stage is Stage.DENOISE] == list(range(1, 8))


def test_a_short_source_stays_on_its_last_frame_and_a_long_one_is_cut_with_a_line_in_the_log(
    model: CogVideoXModel,
) -> None:
    short = drawn(5)
    stayed = np.concatenate([short, np.repeat(short[-1:], FRAMES - 5, axis=0)])
    assert np.array_equal(frames_of(model, from_video(short, 0.5)), frames_of(model, from_video(stayed, 0.5)))
    progress = RecordingProgress()
    long = np.concatenate([stayed, stayed])
    cut = model.generate(from_video(long, 0.5), progress).frames()
    assert np.array_equal(cut, frames_of(model, from_video(stayed, 0.5)))
    assert any("the first 17 are used" in message for _, message in progress.logs)


def test_a_source_is_fitted_to_the_size_that_is_denoised_at(model: CogVideoXModel) -> None:
    generation = from_video(drawn(size=Size(720, 480)), 0.2, width=720, height=480)
    seen = look_at(frames_of(model, generation))
    assert (seen.background, seen.color, seen.shape) == ("blue", "red", Shape.CIRCLE)


def test_a_strength_that_leaves_no_step_is_refused(model: CogVideoXModel) -> None:
    with pytest.raises(InputError, match=r"at least 1 / num_inference_steps, 0\.1: no step") as refused:
        model.generate(from_video(drawn(), 0.05), RecordingProgress()).frames()
    assert refused.value.field == "video_to_video.strength"


def test_a_start_picture_is_refused_by_a_model_that_takes_none(model: CogVideoXModel) -> None:
    with pytest.raises(InputError, match="this model takes text_to_video and video_to_video") as refused:
        model.generate(replace(GENERATION, start=StartPicture(drawn()[0])), RecordingProgress()).frames()
    assert refused.value.field == "image_to_video.image"
