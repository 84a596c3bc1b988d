"""Parts that wait in the machine's memory: the same videos. What it saves shows on a GPU only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import diffusers
import numpy as np
import pytest

from inference.cogvideox import CogVideoXModel
from inference.cogvideox_loading import load_cogvideox
from inference.model import CancelledError, Frames, Generation, Lora, SourceVideo, Stage
from inference.native_size import Size
from inference.offloading import Offload, fitting
from inference.pipeline import Pipeline
from inference.profiles import EXACT, Profile
from tests.inference.progress import RecordingProgress
from tests.loras import lora

GENERATION = Generation(
    prompt="A red circle rests over a blue background.",
    negative_prompt="",
    width=64,
    height=48,
    num_inference_steps=3,
    guidance_scale=2.0,
    seed=11,
    use_rife=False,
    export_fps=8,
)
GIGABYTE = 10**9


def load(directory: Path, offload: Offload, profile: Profile = EXACT) -> CogVideoXModel:
    return load_cogvideox(
        str(directory), name="small", revision="1", device="cpu", num_frames=9, offload=offload, profile=profile
    )


def frames_of(model: CogVideoXModel, generation: Generation = GENERATION) -> Frames:
    return model.generate(generation, RecordingProgress()).frames()


def test_videos_are_the_same_wherever_parts_wait(small_model_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "lora.safetensors").write_bytes(lora())
    adapted = replace(GENERATION, lora=Lora(tmp_path / "lora.safetensors", 1.0))
    source = np.full((9, 48, 64, 3), 90, np.uint8)
    kinds = [GENERATION, adapted, replace(GENERATION, start=SourceVideo(source, 0.7)), GENERATION]
    resident, offloaded = (load(small_model_directory, where) for where in (Offload.NONE, Offload.PARTS))
    for kind in kinds:
        np.testing.assert_array_equal(frames_of(offloaded, kind), frames_of(resident, kind))


def test_a_cancelled_request_leaves_parts_where_the_next_one_finds_them(small_model_directory: Path) -> None:
    model = load(small_model_directory, Offload.PARTS, Profile(step_cache=0.9))
    expected = frames_of(model)
    for cancel_at in ((Stage.DENOISE, 2), (Stage.DECODE, 1)):
        with pytest.raises(CancelledError):
            model.generate(replace(GENERATION, prompt="a kite"), RecordingProgress(cancel_at=cancel_at)).frames()
        np.testing.assert_array_equal(frames_of(model), expected)


def test_parts_wait_where_the_memory_is_small_for_the_clip(small_model_directory: Path) -> None:
    pipeline = cast(
        Pipeline,
        diffusers.CogVideoXPipeline.from_pretrained(small_model_directory),  # type: ignore[no-untyped-call]
    )
    large, small = {"frames": 49, "size": Size(720, 480)}, {"frames": 17, "size": Size(112, 64)}
    assert fitting(pipeline, memory_bytes=14 * GIGABYTE, **large) is Offload.NONE  # type: ignore[arg-type]
    assert fitting(pipeline, memory_bytes=12 * GIGABYTE, **large) is Offload.PARTS  # type: ignore[arg-type]
    assert fitting(pipeline, memory_bytes=1 * GIGABYTE, **small) is Offload.NONE  # type: ignore[arg-type]
