"""The simulated device: deterministic pictures, honest pace, prompt cancellation, and no torch."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from inference.model import CancelledError, Generation, InputError, SourceVideo, Stage, StartPicture
from inference.simulated import SimulatedModel
from tests.inference.progress import RecordingProgress

GENERATION = Generation(
    prompt="A garden comes to life as a kaleidoscope of butterflies flutters amidst the blossoms",
    negative_prompt="",
    width=144,
    height=96,
    num_inference_steps=5,
    guidance_scale=7.0,
    seed=1,
    use_rife=False,
    export_fps=8,
)


def test_same_prompt_and_seed_give_the_same_bytes() -> None:
    one = SimulatedModel(step_s=0).generate(GENERATION, RecordingProgress())
    two = SimulatedModel(step_s=0.001).generate(GENERATION, RecordingProgress())
    np.testing.assert_array_equal(one.frames(), two.frames())


@pytest.mark.parametrize("change", [{"seed": 2}, {"prompt": "a red kite"}])
def test_another_seed_or_prompt_gives_other_pictures(change: dict[str, int | str]) -> None:
    model = SimulatedModel(step_s=0)
    one = model.generate(GENERATION, RecordingProgress())
    other = model.generate(replace(GENERATION, **change), RecordingProgress())  # type: ignore[arg-type]
    different = np.abs(one.frames().astype(int) - other.frames()).mean()
    assert different > 10


@pytest.mark.parametrize(("width", "height"), [(720, 480), (576, 1024), (16, 16), (98, 50), (2, 2)])
def test_frames_have_the_requested_size(width: int, height: int, progress: RecordingProgress) -> None:
    generation = replace(GENERATION, width=width, height=height)
    clip = SimulatedModel(step_s=0, frames=3).generate(generation, progress)
    frames = clip.frames()
    assert frames.shape == (clip.length, clip.height, clip.width, 3) == (3, height, width, 3)
    assert frames.dtype == np.uint8
    assert (clip.width, clip.height) == (width, height)


def test_pictures_move_from_frame_to_frame(progress: RecordingProgress) -> None:
    frames = SimulatedModel(step_s=0).generate(GENERATION, progress).frames()
    assert len(frames) == 49
    moved = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert moved.min() > 0.1


@pytest.mark.parametrize("prompt", ["", "蝴蝶在花园里飞舞", "l'été\n\n  brûlant", "x" * 5000, "🦋"])
def test_any_prompt_can_be_painted(prompt: str, progress: RecordingProgress) -> None:
    clip = SimulatedModel(step_s=0, frames=2).generate(replace(GENERATION, prompt=prompt), progress)
    assert clip.frames().std() > 5


def test_a_default_sized_clip_is_painted_in_a_moment(progress: RecordingProgress) -> None:
    start = time.monotonic()
    SimulatedModel(step_s=0).generate(replace(GENERATION, width=720, height=480), progress).frames()
    assert time.monotonic() - start < 4  # 0.4 s on an idle core


def test_steps_and_decoding_take_the_time_they_are_given(progress: RecordingProgress) -> None:
    start = time.monotonic()
    SimulatedModel(step_s=0.03, decode_s=0.1, frames=17).generate(GENERATION, progress).frames()
    assert time.monotonic() - start >= 5 * 0.03 + 0.1


def test_progress_tells_every_stage_and_step(progress: RecordingProgress) -> None:
    SimulatedModel(step_s=0, frames=17).generate(GENERATION, progress).frames()
    assert progress.stages == [(Stage.PREPARE, 0), (Stage.DENOISE, 5), (Stage.DECODE, 3)]
    assert progress.steps == [(Stage.DENOISE, n) for n in range(1, 6)] + [(Stage.DECODE, n) for n in (1, 2, 3)]


@pytest.mark.parametrize(("stage", "pace"), [(Stage.DENOISE, {"step_s": 600}), (Stage.DECODE, {"decode_s": 600})])
def test_cancelling_in_the_middle_of_a_long_step_frees_the_device(
    stage: Stage, pace: dict[str, float], progress: RecordingProgress
) -> None:
    model = SimulatedModel(**{"step_s": 0.0, **pace})  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as device:
        running = device.submit(lambda: model.generate(GENERATION, progress).frames())
        assert progress.entered[stage].wait(timeout=10)
        progress.cancel()
        with pytest.raises(CancelledError):
            running.result(timeout=10)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"width": 0}, "video_size"),
        ({"height": -2}, "video_size"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
    ],
)
def test_impossible_requests_name_the_field(change: dict[str, int], field: str, progress: RecordingProgress) -> None:
    with pytest.raises(InputError) as refused:
        SimulatedModel().generate(replace(GENERATION, **change), progress).frames()  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize("settings", [{"step_s": -1.0}, {"decode_s": -1.0}, {"frames": 0}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"negative|at least"):
        SimulatedModel(**settings)  # type: ignore[arg-type]


def test_light_modules_leave_torch_alone() -> None:
    program = (
        "import sys, inference.simulated, inference.small_model, inference.weights, inference.native_size\n"
        "sys.exit(bool({'torch', 'diffusers', 'transformers'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_a_given_picture_is_the_first_frame_and_gives_way(progress: RecordingProgress) -> None:
    pixels = np.full((GENERATION.height, GENERATION.width, 3), (200, 10, 10), np.uint8)
    model = SimulatedModel(step_s=0, frames=5)
    started = model.generate(replace(GENERATION, start=StartPicture(pixels)), progress).frames()
    plain = model.generate(GENERATION, RecordingProgress()).frames()
    np.testing.assert_array_equal(started[0], pixels)
    np.testing.assert_array_equal(started[-1], plain[-1])
    away = [np.abs(frame.astype(int) - pixels).mean() for frame in started]
    assert away == sorted(away)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_given_frames_are_tinted_by_the_strength(progress: RecordingProgress, strength: float) -> None:
    frames = np.full((3, GENERATION.height, GENERATION.width, 3), (10, 200, 10), np.uint8)
    model = SimulatedModel(step_s=0, frames=5)
    made = model.generate(replace(GENERATION, start=SourceVideo(frames, strength)), progress).frames()
    plain = model.generate(GENERATION, RecordingProgress()).frames()
    expected = frames[:1] * (1 - strength) + plain * strength
    assert np.abs(made - expected).max() <= 1
