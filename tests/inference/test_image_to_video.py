"""Image to video on the small model's variant: it runs as the stock pipeline does, and goes on from the picture."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from inference.cogvideox import CogVideoXModel
from inference.model import Frames, Generation, InputError, Picture, SourceVideo, Stage, StartPicture
from inference.native_size import Size
from inference.small_model import (
    SMALL_DIRECTORY,
    SMALL_FRAMES,
    SMALL_I2V_DIRECTORY,
    SMALL_I2V_NAME,
    SMALL_I2V_REVISION,
)
from inference.weights import model_digest
from jobs.cards import load_card
from tests.inference.progress import RecordingProgress
from training.adherence import DEFAULT_GUIDANCE, DEFAULT_STEPS, Sample, clip_of, load_small_model, with_picture
from training.pixels import look_at
from training.scenes import ALONG, Motion, MovingShape, Scene, Shape
from training.scenes import Size as Extent

GENERATION = Generation(
    prompt="A large red circle rests over a blue background.",
    negative_prompt="",
    width=96,
    height=64,
    num_inference_steps=4,
    guidance_scale=2.0,
    seed=11,
    use_rife=False,
    export_fps=8,
)


def picture(size: Size = Size(96, 64), shade: int = 200) -> Picture:  # noqa: B008 - a tuple
    pixels = np.zeros((size.height, size.width, 3), np.uint8)
    pixels[:, : size.width // 2] = shade
    return pixels


@pytest.fixture(scope="module")
def model() -> CogVideoXModel:
    return load_small_model(pictures=True)


def frames_of(model: CogVideoXModel, start: Picture) -> Frames:
    return model.generate(replace(GENERATION, start=StartPicture(start)), RecordingProgress()).frames()


def test_its_card_says_what_it_is() -> None:
    card = load_card("cogreel-small-image-to-video")
    assert (card.name, card.revision, card.frames) == (SMALL_I2V_NAME, SMALL_I2V_REVISION, SMALL_FRAMES)
    assert card.digest == model_digest(SMALL_I2V_DIRECTORY)
    assert (card.defaults.num_inference_steps, card.defaults.guidance_scale) == (DEFAULT_STEPS, DEFAULT_GUIDANCE)


def test_it_shares_all_but_the_transformer_with_the_model_for_text() -> None:
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        shared = {path.resolve() for path in (SMALL_I2V_DIRECTORY / part).iterdir()}
        assert shared == set((SMALL_DIRECTORY / part).iterdir())


@pytest.mark.parametrize("motion", [*ALONG, Motion.GROWING])
def test_a_video_begins_with_the_picture_and_moves_as_the_prompt_says(model: CogVideoXModel, motion: Motion) -> None:
    scene = Scene("blue", (MovingShape(Shape.SQUARE, "yellow", Extent.MEDIUM, motion),))
    verb = {Motion.GROWING: "grows"}.get(motion, f"moves {motion}")
    sample = with_picture(Sample(f"A yellow square {verb} over a blue background.", scene, 3))
    clip = clip_of(model, sample.prompt, sample.seed, picture=sample.picture)
    assert sample.picture is not None
    assert np.abs(clip[0].astype(int) - sample.picture).mean() < 12
    seen = look_at(clip)
    assert (seen.background, seen.color, seen.motion) == ("blue", "yellow", motion)


def test_frames_are_those_of_the_stock_pipeline(model: CogVideoXModel) -> None:
    stock = diffusers.CogVideoXImageToVideoPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        SMALL_I2V_DIRECTORY, dtype=torch.float32
    )
    stock.set_progress_bar_config(disable=True)
    made = stock(
        image=Image.fromarray(picture()),
        prompt=GENERATION.prompt,
        negative_prompt="",
        width=96,
        height=64,
        num_frames=SMALL_FRAMES,
        num_inference_steps=GENERATION.num_inference_steps,
        guidance_scale=GENERATION.guidance_scale,
        generator=torch.Generator().manual_seed(GENERATION.seed),
        output_type="pil",
    )
    expected = np.stack([np.asarray(one) for one in made.frames[0]])
    np.testing.assert_array_equal(frames_of(model, picture()), expected)


def test_the_picture_decides_and_nothing_of_it_stays(model: CogVideoXModel) -> None:
    first, other, again = (frames_of(model, picture(shade=shade)) for shade in (200, 90, 200))
    assert not np.array_equal(first, other)
    assert np.array_equal(first, again)


def test_a_picture_of_another_size_is_fitted_to_the_size_that_is_denoised_at(model: CogVideoXModel) -> None:
    progress = RecordingProgress()
    start = StartPicture(picture(Size(720, 480)))
    frames = model.generate(replace(GENERATION, width=720, height=480, start=start), progress).frames()
    assert frames.shape == (SMALL_FRAMES, 64, 96, 3)
    assert (Stage.DENOISE, GENERATION.num_inference_steps) in progress.stages


def test_what_it_takes_is_said_and_anything_else_refused(model: CogVideoXModel) -> None:
    assert model.input_kinds == {"image_to_video"}
    with pytest.raises(InputError, match="this model takes image_to_video"):
        model.generate(GENERATION, RecordingProgress()).frames()
    repainting = replace(GENERATION, start=SourceVideo(np.stack([picture()] * SMALL_FRAMES), 0.8))
    with pytest.raises(InputError, match="this model takes image_to_video"):
        model.generate(repainting, RecordingProgress()).frames()
