"""CogVideoX on the small model's weights: deterministic, cancellable, equal to the stock pipeline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import diffusers
import numpy as np
import pytest
import torch

from inference.cogvideox import MAX_SEED, CogVideoXModel
from inference.cogvideox_loading import Sampler, load_cogvideox
from inference.model import (
    CancelledError,
    DeviceError,
    Frames,
    Generation,
    InputError,
    ModelIdentity,
    Stage,
)
from inference.native_size import Size
from inference.offloading import Residence
from inference.pipeline import Pipeline
from inference.profiles import EXACT, Profile
from inference.prompt_embeddings import PromptEmbeddings
from inference.streaming_decode import decode_chunks
from tests.inference.progress import RecordingProgress

GENERATION = Generation(
    prompt="A garden comes to life as a kaleidoscope of butterflies",
    negative_prompt="blurry",
    width=64,
    height=48,
    num_inference_steps=6,
    guidance_scale=7.0,
    seed=11,
    use_rife=False,
    export_fps=8,
)
FRAMES = 17  # five latent frames: two chunks to decode


def load(
    directory: Path,
    *,
    native_sizes: tuple[Size, ...] = (),
    sampler: Sampler = Sampler.MODEL_CARD,
    profile: Profile = EXACT,
) -> CogVideoXModel:
    return load_cogvideox(
        str(directory),
        name="cogreel-small",
        revision="shapes-4",
        device="cpu",
        num_frames=FRAMES,
        native_sizes=native_sizes,
        sampler=sampler,
        profile=profile,
    )


def load_pipeline(directory: Path, *, dtype: torch.dtype = torch.float32) -> Pipeline:
    pipeline = diffusers.CogVideoXPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        directory, dtype=dtype
    )
    pipeline.set_progress_bar_config(disable=True)
    return cast(Pipeline, pipeline)


def frames_of(model: CogVideoXModel, generation: Generation = GENERATION) -> Frames:
    return model.generate(generation, RecordingProgress()).frames()


@pytest.fixture(scope="module")
def model(small_model_directory: Path) -> CogVideoXModel:
    return load(small_model_directory)


@pytest.fixture(scope="module")
def pipeline(small_model_directory: Path) -> Pipeline:
    return load_pipeline(small_model_directory)


@pytest.fixture(scope="module")
def reference(small_model_directory: Path) -> Frames:
    """What a freshly loaded model makes of GENERATION, its first request."""
    return frames_of(load(small_model_directory))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["as on a CPU", "as on a GPU"])
def test_frames_are_those_of_the_stock_pipeline(small_model_directory: Path, dtype: torch.dtype) -> None:
    stock = load_pipeline(small_model_directory, dtype=dtype)
    made = stock(  # type: ignore[call-arg]
        prompt=GENERATION.prompt,
        negative_prompt=GENERATION.negative_prompt,
        width=GENERATION.width,
        height=GENERATION.height,
        num_frames=FRAMES,
        num_inference_steps=GENERATION.num_inference_steps,
        guidance_scale=GENERATION.guidance_scale,
        generator=torch.Generator().manual_seed(GENERATION.seed),
        output_type="pil",
    )
    pictures = np.stack([np.asarray(picture) for picture in made.frames[0]])
    ours = load_pipeline(small_model_directory, dtype=dtype)
    model = CogVideoXModel(ours, ModelIdentity("small", "1", ""), num_frames=FRAMES)
    np.testing.assert_array_equal(frames_of(model), pictures)


def test_same_request_gives_the_same_bytes_after_other_requests(model: CogVideoXModel, reference: Frames) -> None:
    others = [
        replace(GENERATION, seed=12),
        replace(GENERATION, prompt="a red kite"),
        replace(GENERATION, negative_prompt=""),
        replace(GENERATION, num_inference_steps=5),
        replace(GENERATION, guidance_scale=3.0),
    ]
    for other in others:
        assert not np.array_equal(frames_of(model, other), reference)
    np.testing.assert_array_equal(frames_of(model), reference)


def test_the_process_s_number_of_threads_does_not_change_the_bytes(
    model: CogVideoXModel, reference: Frames, restored_threads: None
) -> None:
    for threads in (1, 2, 3):  # left to torch, three give other bytes
        torch.set_num_threads(threads)
        np.testing.assert_array_equal(frames_of(model), reference)
        assert torch.get_num_threads() == threads


@pytest.fixture
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_guidance_of_one_and_the_extreme_seeds_work(model: CogVideoXModel) -> None:
    for seed in (0, 2**32 - 1, MAX_SEED):
        frames = frames_of(model, replace(GENERATION, guidance_scale=1.0, num_inference_steps=2, seed=seed))
        assert frames.std() > 10


def test_progress_tells_every_stage_and_step(model: CogVideoXModel, progress: RecordingProgress) -> None:
    model.generate(GENERATION, progress).frames()
    assert progress.stages == [(Stage.PREPARE, 0), (Stage.DENOISE, 6), (Stage.DECODE, 2)]
    assert progress.steps == [(Stage.DENOISE, n) for n in range(1, 7)] + [(Stage.DECODE, n) for n in (1, 2)]


@pytest.mark.parametrize("profile", [EXACT, Profile(step_cache=0.9)], ids=["exact", "fast"])
def test_a_cancelled_request_leaves_nothing_behind(small_model_directory: Path, profile: Profile) -> None:
    def fresh() -> CogVideoXModel:
        return load(small_model_directory, profile=profile)

    expected = frames_of(fresh())
    model = fresh()
    other = replace(GENERATION, seed=99, prompt="a red kite")
    for cancel_at in ((Stage.DENOISE, 2), (Stage.DENOISE, 4), (Stage.DENOISE, 6), (Stage.DECODE, 1)):
        with pytest.raises(CancelledError):
            model.generate(other, RecordingProgress(cancel_at=cancel_at)).frames()
        np.testing.assert_array_equal(frames_of(model), expected)


def test_the_fast_profile_comes_near_the_exact_one_and_is_named(
    model: CogVideoXModel, small_model_directory: Path
) -> None:
    fast = load(small_model_directory, profile=Profile(step_cache=0.9))
    assert (model.identity.profile, fast.identity.profile) == ("exact", "fast, step cache 0.9")
    exact, near = (frames_of(one).astype(np.float32) for one in (model, fast))
    assert 0 < np.abs(exact - near).mean() < 40
    np.testing.assert_array_equal(frames_of(fast), near)


def test_cancelling_stops_at_the_step_in_hand(model: CogVideoXModel) -> None:
    progress = RecordingProgress(cancel_at=(Stage.DENOISE, 2))
    with pytest.raises(CancelledError):
        model.generate(GENERATION, progress).frames()
    assert progress.steps == [(Stage.DENOISE, 1), (Stage.DENOISE, 2)]
    assert progress.stages[-1] == (Stage.DENOISE, 6)


def test_a_request_cancelled_before_it_begins_is_not_begun(model: CogVideoXModel) -> None:
    progress = RecordingProgress()
    progress.cancel()
    with pytest.raises(CancelledError):
        model.generate(GENERATION, progress).frames()
    assert progress.stages == []


@pytest.mark.parametrize("latent_frames", [1, 2, 3, 4, 7])
def test_decoding_in_chunks_gives_the_pipeline_s_own_bytes(pipeline: Pipeline, latent_frames: int) -> None:
    shape = (1, latent_frames, 16, 6, 8)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole = pipeline.decode_latents(latents)  # type: ignore[attr-defined]
    expected = pipeline.video_processor.postprocess_video(whole, output_type="np")[0]  # type: ignore[attr-defined]
    chunks = np.concatenate(list(decode_chunks(pipeline.vae, latents)))
    np.testing.assert_array_equal(chunks, (expected * 255).round().astype(np.uint8))


def test_a_prompt_that_is_too_long_is_cut_and_the_log_says_so(
    model: CogVideoXModel, progress: RecordingProgress
) -> None:
    kept = " ".join(["red"] * 225)  # one token each, and the end mark makes 226
    whole = frames_of(model, replace(GENERATION, prompt=kept))
    cut = model.generate(replace(GENERATION, prompt=f"{kept} blue whale"), progress).frames()
    np.testing.assert_array_equal(cut, whole)
    [(level, message)] = progress.logs
    assert level == "WARN"
    assert message.startswith("prompt has ")
    assert "first 225" in message
    assert message.endswith("blue whale")


def test_a_prompt_that_just_fits_is_not_warned_about(model: CogVideoXModel, progress: RecordingProgress) -> None:
    model.generate(replace(GENERATION, prompt=" ".join(["red"] * 225), num_inference_steps=1), progress).frames()
    assert progress.logs == []


def test_the_log_quotes_a_cut_novel_briefly_and_names_its_field(
    model: CogVideoXModel, progress: RecordingProgress
) -> None:
    novel = "ugly blurry " * 2000
    for _ in range(2):  # also where the embedding is remembered
        model.generate(replace(GENERATION, negative_prompt=novel, num_inference_steps=1), progress).frames()
    assert [level for level, _ in progress.logs] == ["WARN", "WARN"]
    assert all(message.startswith("negative_prompt has ") for _, message in progress.logs)
    assert all(len(message) < 400 for _, message in progress.logs)


def test_texts_are_embedded_once_as_long_as_they_are_remembered(small_model_directory: Path) -> None:
    pipeline = load_pipeline(small_model_directory)
    embedded: list[int] = []
    pipeline.text_encoder.register_forward_hook(lambda *_: embedded.append(1))
    one = PromptEmbeddings(pipeline, Residence(pipeline.device)).embed("").size_bytes
    embedded.clear()
    embeddings = PromptEmbeddings(
        pipeline, Residence(pipeline.device), capacity_bytes=3 * one - 1
    )  # two, and not quite a third
    first = embeddings.embed("one").hidden_states
    assert first.shape == (1, 226, 64)
    assert embeddings.embed("one").hidden_states is first
    embeddings.embed("two")
    embeddings.embed("one")
    assert len(embedded) == 2
    embeddings.embed("three")  # pushes out "two", used least recently
    embeddings.embed("one")
    assert len(embedded) == 3
    embeddings.embed("two")
    assert len(embedded) == 4


def test_requests_are_denoised_at_the_nearest_native_size(
    small_model_directory: Path, progress: RecordingProgress
) -> None:
    model = load(small_model_directory, native_sizes=(Size(64, 64), Size(96, 64), Size(64, 96)))
    request = replace(GENERATION, width=1024, height=576, num_inference_steps=1)
    clip = model.generate(request, progress)
    assert (clip.width, clip.height) == (96, 64)
    assert progress.logs == [("INFO", "Denoising at 96x64, the nearest native size.")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"width": 72}, "video_size"),  # a multiple of 8, which the pipeline itself would accept
        ({"height": 0}, "video_size"),
        ({"seed": -1}, "seed"),
        ({"seed": MAX_SEED + 1}, "seed"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 1001}, "num_inference_steps"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
    ],
)
def test_impossible_requests_name_the_field(
    model: CogVideoXModel, change: dict[str, float], field: str, progress: RecordingProgress
) -> None:
    with pytest.raises(InputError) as refused:
        model.generate(replace(GENERATION, **change), progress).frames()  # type: ignore[arg-type]
    assert refused.value.field == field
    assert progress.stages == []


def test_running_out_of_memory_is_a_device_error(model: CogVideoXModel, progress: RecordingProgress) -> None:
    side = 16_000_000  # latents of a petabyte: more than any address space holds
    with pytest.raises(DeviceError, match="memory"):
        model.generate(replace(GENERATION, width=side, height=side), progress).frames()


def test_the_authors_sampler_can_be_chosen(small_model_directory: Path, reference: Frames) -> None:
    frames = frames_of(load(small_model_directory, sampler=Sampler.DPM_DYNAMIC))
    assert frames.shape == reference.shape
    assert not np.array_equal(frames, reference)


def test_generating_writes_nothing_to_the_terminal(
    small_model_directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frames_of(load(small_model_directory), replace(GENERATION, prompt="red " * 300, num_inference_steps=2))
    assert capfd.readouterr() == ("", "")


def test_a_model_may_be_used_from_another_thread_than_the_one_that_loaded_it(
    model: CogVideoXModel, reference: Frames
) -> None:
    made: list[Frames] = []
    device = threading.Thread(target=lambda: made.append(frames_of(model)))
    device.start()
    device.join(timeout=30)
    np.testing.assert_array_equal(made[0], reference)


@pytest.mark.parametrize("num_frames", [0, 8, 48, 13])
def test_clip_lengths_that_do_not_decode_to_themselves_are_refused(pipeline: Pipeline, num_frames: int) -> None:
    with pytest.raises(ValueError, match="8 k"):
        CogVideoXModel(pipeline, ModelIdentity("small", "1", ""), num_frames=num_frames)


def test_native_sizes_that_do_not_fit_the_patches_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        CogVideoXModel(pipeline, ModelIdentity("small", "1", ""), num_frames=FRAMES, native_sizes=(Size(72, 48),))
