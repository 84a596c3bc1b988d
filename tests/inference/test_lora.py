"""LoRAs on the small model: they change one clip, and nothing after it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.cogvideox import CogVideoXModel
from inference.model import CancelledError, Frames, Generation, InputError, Lora, Stage
from inference.simulated import SimulatedModel
from tests.inference.progress import RecordingProgress
from tests.loras import lora, lora_of_width
from training.adherence import load_small_model

GENERATION = Generation(
    prompt="A red circle rests over a blue background.",
    negative_prompt="",
    width=64,
    height=48,
    num_inference_steps=4,
    guidance_scale=2.0,
    seed=11,
    use_rife=False,
    export_fps=8,
)
Adapted = Callable[..., Generation]


@pytest.fixture(scope="module")
def model() -> CogVideoXModel:
    return load_small_model()


@pytest.fixture(scope="module")
def plain(model: CogVideoXModel) -> Frames:
    return frames_of(model, GENERATION)


@pytest.fixture
def adapted(tmp_path: Path) -> Adapted:
    def make(content: bytes | None = None, scale: float = 1.0) -> Generation:
        path = tmp_path / "lora.safetensors"
        path.write_bytes(lora() if content is None else content)
        return replace(GENERATION, lora=Lora(path, scale))

    return make


def frames_of(model: CogVideoXModel, generation: Generation) -> Frames:
    return model.generate(generation, RecordingProgress()).frames()


def test_a_lora_changes_its_own_clip_and_no_other(model: CogVideoXModel, plain: Frames, adapted: Adapted) -> None:
    changed = frames_of(model, adapted())
    assert np.abs(changed.astype(int) - plain).mean() > 1
    np.testing.assert_array_equal(frames_of(model, GENERATION), plain)
    np.testing.assert_array_equal(frames_of(model, adapted()), changed)


def test_the_scale_says_how_much(model: CogVideoXModel, plain: Frames, adapted: Adapted) -> None:
    away = [np.abs(frames_of(model, adapted(scale=scale)).astype(int) - plain).mean() for scale in (0.0, 0.1, 1.0)]
    assert away[0] < away[1] < away[2]
    assert away[0] < 0.01


def test_a_cancelled_request_takes_its_lora_with_it(model: CogVideoXModel, plain: Frames, adapted: Adapted) -> None:
    with pytest.raises(CancelledError):
        model.generate(adapted(), RecordingProgress(cancel_at=(Stage.DENOISE, 2))).frames()
    np.testing.assert_array_equal(frames_of(model, GENERATION), plain)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not safetensors at all", "no LoRA that can be read"),
        (lora()[:-100], "no LoRA that can be read"),
        (pickle.dumps({"transformer": 1}), "no LoRA that can be read"),
        (lora(to_q="to_query"), "this one has no transformer.transformer_blocks.0.attn1.to_query"),
        (lora(transformer_blocks="blocks"), "for another model: this one has no"),
        (lora_of_width(3072), "lora_A.weight is 4 × 3072, and should have"),
    ],
    ids=["text", "cut off", "a pickle", "an unknown layer", "another model's names", "another model's size"],
)
def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing(
    model: CogVideoXModel, plain: Frames, adapted: Adapted, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        model.generate(adapted(content), RecordingProgress()).frames()
    assert refused.value.field == "text_to_video.loras[0].path"
    np.testing.assert_array_equal(frames_of(model, GENERATION), plain)


def test_the_simulated_device_takes_none(adapted: Adapted) -> None:
    with pytest.raises(InputError, match="no weights to adapt"):
        SimulatedModel(step_s=0).generate(adapted(), RecordingProgress()).frames()
