"""The small model: the same bytes from the same seed, safe to build from several processes, fit to look at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inference.cogvideox_loading import load_cogvideox
from inference.model import Clip, Generation
from inference.native_size import Size, nearest_native_size
from inference.small_model import (
    SMALL_FRAMES,
    SMALL_NAME,
    SMALL_NATIVE_SIZES,
    SMALL_REVISION,
    build_small_model,
)
from inference.weights import model_digest
from jobs.cards import load_card
from tests.inference.progress import RecordingProgress

DOCUMENTED_SIZES = {
    "default": Size(720, 480),
    "square_hd": Size(1024, 1024),
    "square": Size(512, 512),
    "portrait_4_3": Size(768, 1024),
    "portrait_16_9": Size(576, 1024),
    "landscape_4_3": Size(1024, 768),
    "landscape_16_9": Size(1024, 576),
}


def generate(directory: Path, size: Size, *, num_frames: int, steps: int) -> Clip:
    model = load_cogvideox(
        str(directory),
        name=SMALL_NAME,
        revision=SMALL_REVISION,
        device="cpu",
        num_frames=num_frames,
        native_sizes=SMALL_NATIVE_SIZES,
    )
    generation = Generation(
        prompt="A garden comes to life",
        negative_prompt="blurry",
        width=size.width,
        height=size.height,
        num_inference_steps=steps,
        guidance_scale=7.0,
        seed=5,
        use_rife=False,
        export_fps=8,
    )
    return model.generate(generation, RecordingProgress())


def test_processes_building_at_once_agree_on_one_model_with_the_same_bytes(
    small_model_directory: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "new" / "small"
    program = (
        "import sys; from pathlib import Path; from inference.small_model import build_small_model\n"
        "build_small_model(Path(sys.argv[1]))"
    )
    builders = [subprocess.Popen([sys.executable, "-c", program, str(shared)]) for _ in range(2)]
    assert [builder.wait(timeout=50) for builder in builders] == [0, 0]
    assert [path.name for path in shared.parent.iterdir()] == ["small"]
    assert model_digest(shared) == model_digest(small_model_directory)


def test_its_card_says_what_it_is() -> None:
    card = load_card("cogreel-small")
    assert (card.name, card.revision, card.frames) == (SMALL_NAME, SMALL_REVISION, SMALL_FRAMES)
    assert [Size(size.width, size.height) for size in card.native_sizes] == list(SMALL_NATIVE_SIZES)


def test_another_seed_gives_other_weights(small_model_directory: Path, tmp_path: Path) -> None:
    other = build_small_model(tmp_path / "other", seed=1)
    assert model_digest(other) != model_digest(small_model_directory)


def test_building_again_leaves_the_model_as_it_is(small_model_directory: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_model_directory.rglob("*")}
    assert build_small_model(small_model_directory) == small_model_directory
    assert {path: path.stat().st_mtime_ns for path in small_model_directory.rglob("*")} == before


def test_a_directory_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OSError, match="mine"):
        build_small_model(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("preset", DOCUMENTED_SIZES)
def test_every_documented_size_keeps_its_shape(preset: str) -> None:
    requested = DOCUMENTED_SIZES[preset]
    native = nearest_native_size(requested, SMALL_NATIVE_SIZES)
    distortion = (native.width / native.height) / (requested.width / requested.height)
    assert 0.98 < distortion < 1.02


def test_a_full_length_clip_is_fit_to_look_at(small_model_directory: Path) -> None:
    frames = generate(small_model_directory, Size(720, 480), num_frames=SMALL_FRAMES, steps=50).frames
    assert frames.shape == (49, 64, 96, 3)
    assert (frames.std(axis=(1, 2, 3)) > 20).all()  # no flat frame
    moved = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert (moved > 0.5).all()
    assert moved.max() < 20  # drifting, not flickering
    burnt = (frames == 0).mean() + (frames == 255).mean()
    assert burnt < 0.2


@pytest.mark.parametrize("size", SMALL_NATIVE_SIZES)
def test_every_native_size_runs(small_model_directory: Path, size: Size) -> None:
    frames = generate(small_model_directory, size, num_frames=9, steps=2).frames
    assert frames.shape == (9, size.height, size.width, 3)
    assert frames.std() > 10
