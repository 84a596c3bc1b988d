"""Ways to compute the same model: what they change, what they cost in likeness, and that each is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from torch._inductor.utils import fresh_cache

from inference.acceleration import accelerate, check_profile
from inference.adapters import applied
from inference.cogvideox import CogVideoXModel
from inference.float8 import Float8Linear
from inference.model import CancelledError, DeviceError, Frames, Generation, Lora, Stage
from inference.profiles import EXACT, Kernel, Profile
from tests.inference.progress import RecordingProgress
from tests.loras import lora
from training.adherence import load_small_model
from training.pixels import look_at

GENERATION = Generation(
    prompt="A red circle moves to the right over a blue background.",
    negative_prompt="",
    width=96,
    height=64,
    num_inference_steps=6,
    guidance_scale=2.0,
    seed=11,
    use_rife=False,
    export_fps=8,
)
FLOAT8 = Profile(step_cache=0.1, float8=True)


def frames_of(model: CogVideoXModel, generation: Generation = GENERATION) -> Frames:
    return model.generate(generation, RecordingProgress()).frames()


def difference(one: Frames, other: Frames) -> float:
    """In steps of 255, on average."""
    return float(np.abs(one.astype(float) - other).mean())


@pytest.fixture(scope="module")
def exact() -> Frames:
    return frames_of(load_small_model())


@pytest.fixture(scope="module")
def rounded() -> CogVideoXModel:
    return load_small_model(profile=FLOAT8)


@pytest.mark.parametrize(
    ("profile", "name"),
    [
        (EXACT, "exact"),
        (Profile(step_cache=0.1), "fast, step cache 0.1"),
        (Profile(compiled=True, attention="cudnn"), "exact, compiled, cudnn attention"),
        (Profile(step_cache=0.2, float8=True, compiled=True), "fast, step cache 0.2, float8, compiled"),
    ],
)
def test_a_profile_names_all_that_its_numbers_depend_on(profile: Profile, name: str) -> None:
    assert profile.name == name


def test_float8_shows_the_same_clip_a_little_different(rounded: CogVideoXModel, exact: Frames) -> None:
    assert rounded.identity.profile == "fast, step cache 0.1, float8"
    clip = frames_of(rounded)
    assert 0 < difference(clip, exact) < 5
    assert (look_at(clip).color, look_at(clip).background) == ("red", "blue")
    np.testing.assert_array_equal(frames_of(rounded), clip)


def test_a_cancelled_request_leaves_nothing_behind_in_float8(rounded: CogVideoXModel) -> None:
    expected = frames_of(rounded)
    other = replace(GENERATION, prompt="A green star spins.", seed=3)
    with pytest.raises(CancelledError):
        rounded.generate(other, RecordingProgress(cancel_at=(Stage.DENOISE, 3)))
    np.testing.assert_array_equal(frames_of(rounded), expected)


def test_loras_go_with_float8(rounded: CogVideoXModel, tmp_path: Path) -> None:
    plain = frames_of(rounded)
    adapted = replace(GENERATION, lora=Lora(path_of(tmp_path), 1.0))
    assert difference(frames_of(rounded, adapted), plain) > 1
    np.testing.assert_array_equal(frames_of(rounded), plain)


def test_adapters_have_the_model_s_precision_beside_8_bit_layers(small_model_directory: Path, tmp_path: Path) -> None:
    pipeline = diffusers.CogVideoXPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        small_model_directory, dtype=torch.bfloat16
    )
    accelerate(pipeline.transformer, FLOAT8)
    with applied(pipeline, Lora(path_of(tmp_path), 1.0)):
        adapters = {name: part.dtype for name, part in pipeline.transformer.named_parameters() if ".lora_" in name}
    assert adapters
    assert set(adapters.values()) == {torch.bfloat16}


def path_of(folder: Path) -> Path:
    path = folder / "lora.safetensors"
    path.write_bytes(lora())
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rounded_layer_multiplies_nearly_as_before_with_a_byte_a_weight(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 48, dtype=dtype)
    values = torch.randn(3, 5, 64, dtype=dtype)
    values[0, 0] = 0
    rounded = Float8Linear.of(layer)
    with torch.no_grad():
        near, precise = rounded(values), layer(values)
    assert (near.dtype, near.shape) == (dtype, precise.shape)
    assert float((near - precise).norm() / precise.norm()) < 0.05
    torch.testing.assert_close(near[0, 0], precise[0, 0])
    assert rounded.weight.nbytes == 64 * 48


def test_one_attention_kernel_does_it_all(exact: Frames) -> None:
    model = load_small_model(profile=Profile(attention="flash"))
    assert model.identity.profile == "exact, flash attention"
    assert difference(frames_of(model), exact) < 0.5


def test_no_other_kernel_than_the_named_one_is_used(small_model_directory: Path) -> None:
    transformer = diffusers.CogVideoXTransformer3DModel.from_pretrained(  # type: ignore[no-untyped-call]
        small_model_directory / "transformer"
    )
    accelerate(transformer, Profile(attention="efficient"))  # which no CPU has
    with torch.no_grad(), pytest.raises(RuntimeError, match="backend"):
        transformer(torch.zeros(1, 3, 16, 6, 8), torch.zeros(1, 226, 64), torch.zeros(1), return_dict=False)


@pytest.mark.parametrize("kernel", ["cudnn", "efficient"])
def test_a_kernel_that_the_device_does_not_have_is_told_at_the_start(kernel: Kernel) -> None:
    with pytest.raises(DeviceError, match=f"cpu has no {kernel} attention .*leave COGREEL_ATTENTION at auto"):
        check_profile(Profile(attention=kernel), torch.device("cpu"), torch.float32)


@contextmanager
def compiled_anew() -> Iterator[CogVideoXModel]:
    """A compiled model that finds nothing which was compiled before."""
    torch.compiler.reset()
    with fresh_cache():
        yield load_small_model(profile=Profile(step_cache=0.05, compiled=True))
    torch.compiler.reset()


def compilations() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles by way of a C++ compiler")
def test_compiled_blocks_compute_the_same_and_leave_loras_alone(tmp_path: Path) -> None:
    cached = load_small_model(profile=Profile(step_cache=0.05))
    plain = replace(GENERATION, width=64, height=48, num_inference_steps=3)
    adapted = replace(plain, lora=Lora(path_of(tmp_path), 1.0))
    before = compilations()
    with compiled_anew() as compiled:
        clip = frames_of(compiled, plain)
        assert difference(clip, frames_of(cached, plain)) < 0.5
        compiled_once = compilations()
        assert compiled_once > before
        np.testing.assert_array_equal(frames_of(compiled, adapted), frames_of(cached, adapted))
        np.testing.assert_array_equal(frames_of(compiled, plain), clip)
        assert compilations() == compiled_once
    with compiled_anew() as again:
        np.testing.assert_array_equal(frames_of(again, plain), clip)


def test_a_machine_that_cannot_compile_says_so_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match=r"g\+\+, which is not here: .*COGREEL_COMPILE"):
        check_profile(Profile(compiled=True), torch.device("cpu"), torch.float32)
