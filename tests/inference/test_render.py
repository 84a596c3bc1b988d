"""From a generation to its MP4, by the simulated model: stages, sizes, rates, and what is left on cancel."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.blend import BlendDoubler
from inference.model import CancelledError, Clip, Generation, InputError, Stage
from inference.mp4 import decode_frames, probe
from inference.render import encode_clip, generate_clip, render
from inference.simulated import SimulatedModel
from tests.inference.progress import RecordingProgress

_REPOSITORY = Path(__file__).parents[2]

_GENERATION = Generation(
    prompt="a paper boat on a pond",
    negative_prompt="",
    width=96,
    height=64,
    num_inference_steps=3,
    guidance_scale=7.0,
    seed=5,
    use_rife=True,
    export_fps=16,
)


@pytest.fixture(scope="module")
def model() -> SimulatedModel:
    return SimulatedModel(step_s=0)


def test_49_frames_with_interpolation_last_as_long_at_twice_the_rate(model: SimulatedModel, tmp_path: Path) -> None:
    smooth = render(model, BlendDoubler(), _GENERATION, tmp_path / "smooth.mp4", RecordingProgress())
    plain_generation = replace(_GENERATION, use_rife=False, export_fps=8)
    plain = render(model, BlendDoubler(), plain_generation, tmp_path / "plain.mp4", RecordingProgress())
    assert (smooth.frames, smooth.fps) == (98, 16)
    assert (plain.frames, plain.fps) == (49, 8)
    assert probe(smooth.path).duration_s == probe(plain.path).duration_s == 6.125


def test_what_is_said_of_the_file_is_true(model: SimulatedModel, tmp_path: Path) -> None:
    rendered = render(model, BlendDoubler(), _GENERATION, tmp_path / "video.mp4", RecordingProgress())
    content = (tmp_path / "video.mp4").read_bytes()
    assert rendered.path == tmp_path / "video.mp4"
    assert rendered.size_bytes == len(content)
    assert rendered.sha256 == hashlib.sha256(content).hexdigest()
    properties = probe(rendered.path)
    assert (properties.frames, properties.width, properties.height, properties.fps) == (98, 96, 64, 16)
    assert (rendered.frames, rendered.width, rendered.height, rendered.fps) == (98, 96, 64, 16)


def test_the_same_generation_gives_the_same_bytes(model: SimulatedModel, tmp_path: Path) -> None:
    one, two, other = (
        render(model, BlendDoubler(), generation, tmp_path / f"{number}.mp4", RecordingProgress())
        for number, generation in enumerate((_GENERATION, _GENERATION, replace(_GENERATION, seed=6)))
    )
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.sha256 != other.sha256


def test_stages_come_in_order_and_count_to_their_totals(model: SimulatedModel, tmp_path: Path) -> None:
    progress = RecordingProgress()
    render(model, BlendDoubler(), _GENERATION, tmp_path / "video.mp4", progress)
    order = [Stage.PREPARE, Stage.DENOISE, Stage.DECODE, Stage.INTERPOLATE, Stage.ENCODE]
    assert [stage for stage, _ in progress.stages] == order
    assert progress.stages[3:] == [(Stage.INTERPOLATE, 48), (Stage.ENCODE, 98)]
    for stage, total in progress.stages[1:]:
        steps = [step for stage_of_step, step in progress.steps if stage_of_step == stage]
        assert steps == sorted(set(steps))
        assert steps[-1] == total


def test_without_interpolation_that_stage_is_left_out(model: SimulatedModel, tmp_path: Path) -> None:
    progress = RecordingProgress()
    render(model, None, replace(_GENERATION, use_rife=False), tmp_path / "video.mp4", progress)
    assert Stage.INTERPOLATE not in [stage for stage, _ in progress.stages]


def test_interpolation_that_is_not_there_is_refused_before_anything_runs(model: SimulatedModel, tmp_path: Path) -> None:
    progress = RecordingProgress()
    with pytest.raises(InputError) as refused:
        render(model, None, _GENERATION, tmp_path / "video.mp4", progress)
    assert refused.value.field == "use_rife"
    assert progress.stages == []


def test_frames_of_the_native_size_are_scaled_and_both_sizes_are_told(model: SimulatedModel, tmp_path: Path) -> None:
    frames = generate_clip(model, BlendDoubler(), _GENERATION, RecordingProgress()).frames()
    larger = replace(_GENERATION, width=240, height=160)
    rendered = encode_clip(Clip.of(frames), larger, tmp_path / "video.mp4", RecordingProgress())
    assert (rendered.native_width, rendered.native_height) == (96, 64)
    assert (rendered.width, rendered.height) == (240, 160)
    shown = next(decode_frames(rendered.path))
    assert shown.shape == (160, 240, 3)
    assert np.abs(shown.mean(axis=(0, 1)) - frames[0].mean(axis=(0, 1))).max() < 3


@pytest.mark.parametrize("stage", [Stage.DENOISE, Stage.DECODE, Stage.INTERPOLATE, Stage.ENCODE])
def test_cancelled_at_any_stage_it_goes_no_further_and_leaves_no_file(
    model: SimulatedModel, tmp_path: Path, stage: Stage
) -> None:
    step = 8 if stage is Stage.ENCODE else 2
    progress = RecordingProgress(cancel_at=(stage, step))
    with pytest.raises(CancelledError):
        render(model, BlendDoubler(), _GENERATION, tmp_path / "video.mp4", progress)
    assert progress.steps[-1] == (stage, step)
    assert list(tmp_path.iterdir()) == []


def test_rendering_needs_no_torch() -> None:
    code = "import sys, inference.render, inference.blend; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=_REPOSITORY, timeout=30)
