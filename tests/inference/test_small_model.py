"""The small model: it shows what its prompt says, as pixels tell, and every setting means something."""

from __future__ import annotations

import numpy as np
import pytest

from inference.model import VideoModel
from inference.native_size import Size, nearest_native_size
from inference.small_model import SMALL_DIRECTORY, SMALL_FRAMES, SMALL_NAME, SMALL_NATIVE_SIZES, SMALL_REVISION
from inference.weights import model_digest
from jobs.cards import load_card
from training.adherence import (
    DEFAULT_GUIDANCE,
    DEFAULT_SIZE,
    DEFAULT_STEPS,
    clip_of,
    held_out_samples,
    load_small_model,
    shares,
)
from training.pixels import judge, look_at
from training.scenes import ALONG, PALETTE, Motion

DOCUMENTED_SIZES = {
    "default": Size(720, 480),
    "square_hd": Size(1024, 1024),
    "square": Size(512, 512),
    "portrait_4_3": Size(768, 1024),
    "portrait_16_9": Size(576, 1024),
    "landscape_4_3": Size(1024, 768),
    "landscape_16_9": Size(1024, 576),
}
BALL = "A small red ball rolls to the right over a blue background"


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return load_small_model()


def test_its_card_says_what_it_is() -> None:
    card = load_card("cogreel-small")
    assert (card.name, card.revision, card.frames) == (SMALL_NAME, SMALL_REVISION, SMALL_FRAMES)
    assert card.digest == model_digest(SMALL_DIRECTORY)
    assert [Size(size.width, size.height) for size in card.native_sizes] == list(SMALL_NATIVE_SIZES)
    assert (card.defaults.num_inference_steps, card.defaults.guidance_scale) == (DEFAULT_STEPS, DEFAULT_GUIDANCE)
    assert nearest_native_size(Size(720, 480), SMALL_NATIVE_SIZES) == DEFAULT_SIZE


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SMALL_DIRECTORY.rglob("*") if path.is_file()) < 25e6


@pytest.mark.parametrize("preset", DOCUMENTED_SIZES)
def test_every_documented_size_keeps_its_shape(preset: str) -> None:
    requested = DOCUMENTED_SIZES[preset]
    native = nearest_native_size(requested, SMALL_NATIVE_SIZES)
    distortion = (native.width / native.height) / (requested.width / requested.height)
    assert 0.98 < distortion < 1.02


@pytest.mark.long
def test_what_it_shows_of_prompts_that_it_never_saw_is_mostly_right(model: VideoModel) -> None:
    samples = held_out_samples(14, seed=7)
    found = shares(samples, [judge(clip_of(model, sample.prompt, sample.seed), sample.scene) for sample in samples])
    # Of so few clips, somewhat less than docs/small-model.md has of a hundred.
    assert found["background"] >= 0.95
    assert found["color"] >= 0.95
    assert found["direction"] >= 0.85
    assert found["motion"] >= 0.75
    assert found["shape"] >= 0.65


@pytest.mark.parametrize("size", SMALL_NATIVE_SIZES)
def test_every_native_size_shows_the_colors_of_the_prompt(model: VideoModel, size: Size) -> None:
    frames = clip_of(model, "A large red circle rests on a blue background.", 3, size=size)
    assert frames.shape == (SMALL_FRAMES, size.height, size.width, 3)
    seen = look_at(frames)
    assert (seen.background, seen.color) == ("blue", "red")


@pytest.mark.parametrize("direction", ALONG)
def test_what_should_go_somewhere_goes_there(model: VideoModel, direction: Motion) -> None:
    assert look_at(clip_of(model, f"A red circle moves {direction} over a blue background.", 3)).motion is direction


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_clip(model: VideoModel) -> None:
    first, again, other = (clip_of(model, BALL, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 0.5


@pytest.mark.long
def test_the_negative_prompt_takes_away_what_it_names(model: VideoModel) -> None:
    kept = removed = 0
    for seed in range(6):
        prompt = f"A circle rests on a {('white', 'black')[seed % 2]} background."
        usual = look_at(clip_of(model, prompt, seed)).color
        assert usual in PALETTE
        named = clip_of(model, prompt, seed, negative_prompt=f"A {usual} circle.")
        kept += look_at(named).color == usual
        removed += look_at(named).color != usual
    assert removed > kept


@pytest.mark.long
def test_guidance_changes_a_clip_and_not_what_it_shows(model: VideoModel) -> None:
    without, usual = (clip_of(model, BALL, 3, guidance=guidance) for guidance in (1.0, DEFAULT_GUIDANCE))
    assert np.abs(without.astype(int) - usual).mean() > 0.5
    for clip in (without, usual):
        seen = look_at(clip)
        assert (seen.background, seen.color, seen.motion) == ("blue", "red", Motion.RIGHT)


@pytest.mark.parametrize(
    "prompt", ["", "A garden comes to life as a kaleidoscope of butterflies flutters", "東京 🎬 !?"]
)
def test_words_that_it_does_not_know_give_a_picture_all_the_same(model: VideoModel, prompt: str) -> None:
    frames = clip_of(model, prompt, 5)
    assert look_at(frames).color is not None
