"""Image to video: a model of the published kind, made of the small one's weights, runs as the stock pipeline does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from inference.cogvideox import CogVideoXModel
from inference.cogvideox_loading import load_cogvideox
from inference.model import Frames, Generation, InputError, Picture, SourceVideo, Stage, StartPicture
from inference.native_size import Size
from tests.inference.progress import RecordingProgress

FRAMES = 9
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
def directory(small_model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a transformer that takes a picture's latents too, as CogVideoX-5b-I2V's does."""
    text = diffusers.CogVideoXPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        small_model_directory, dtype=torch.float32
    )
    config = dict(text.transformer.config) | {"in_channels": 2 * text.transformer.config["in_channels"]}
    torch.manual_seed(0)
    transformer = diffusers.CogVideoXTransformer3DModel.from_config(config)  # type: ignore[no-untyped-call]
    weights = text.transformer.state_dict()
    projection = transformer.state_dict()["patch_embed.proj.weight"].clone()
    projection[:, : projection.shape[1] // 2] = weights["patch_embed.proj.weight"]
    transformer.load_state_dict(weights | {"patch_embed.proj.weight": projection})
    path = tmp_path_factory.mktemp("i2v") / "model"
    parts = {name: getattr(text, name) for name in ("tokenizer", "text_encoder", "vae", "scheduler")}
    whole: Any = diffusers.CogVideoXImageToVideoPipeline(transformer=transformer, **parts)  # type: ignore[no-untyped-call]
    whole.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(directory: Path) -> CogVideoXModel:
    return load_cogvideox(
        str(directory),
        name="small-i2v",
        revision="1",
        device="cpu",
        num_frames=FRAMES,
        native_sizes=[Size(96, 64)],
        cpu_threads=torch.get_num_threads(),
    )


def frames_of(model: CogVideoXModel, start: Picture) -> Frames:
    return model.generate(replace(GENERATION, start=StartPicture(start)), RecordingProgress()).frames


def test_frames_are_those_of_the_stock_pipeline(model: CogVideoXModel, directory: Path) -> None:
    stock = diffusers.CogVideoXImageToVideoPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        directory, dtype=torch.float32
    )
    stock.set_progress_bar_config(disable=True)
    made = stock(
        image=Image.fromarray(picture()),
        prompt=GENERATION.prompt,
        negative_prompt="",
        width=96,
        height=64,
        num_frames=FRAMES,
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
    frames = model.generate(replace(GENERATION, width=720, height=480, start=start), progress).frames
    assert frames.shape == (FRAMES, 64, 96, 3)
    assert (Stage.DENOISE, GENERATION.num_inference_steps) in progress.stages


def test_what_it_takes_is_said_and_anything_else_refused(model: CogVideoXModel) -> None:
    assert model.input_kinds == {"image_to_video"}
    with pytest.raises(InputError, match="this model takes image_to_video"):
        model.generate(GENERATION, RecordingProgress())
    repainting = replace(GENERATION, start=SourceVideo(np.stack([picture()] * FRAMES), 0.8))
    with pytest.raises(InputError, match="this model takes image_to_video"):
        model.generate(repainting, RecordingProgress())
