"""The whole of the training in little: each network learns, and the command leaves a model that can be loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.cogvideox_loading import load_cogvideox
from inference.native_size import Size
from inference.small_model import SMALL_DIRECTORY, SMALL_NAME, SMALL_REVISION
from inference.weights import model_digest
from training.__main__ import main
from training.autoencoder import new_autoencoder, train_autoencoder
from training.latents import encode_scenes
from training.text_encoder import new_text_encoder, train_text_encoder
from training.tokenizer import new_tokenizer


@pytest.mark.long
def test_the_text_encoder_learns_to_read(tmp_path: Path) -> None:
    tokenizer = new_tokenizer()
    torch.manual_seed(0)
    text_encoder = new_text_encoder(len(tokenizer))
    read = train_text_encoder(text_encoder, tokenizer, steps=150, seed=0, checkpoint=tmp_path / "text.pt")
    assert read > 0.4  # an untrained one is right in about 0.14


def test_the_autoencoder_goes_through_all_of_its_stages(tmp_path: Path) -> None:
    torch.manual_seed(0)
    autoencoder: nn.Module = new_autoencoder()  # type: ignore[assignment]
    before = {name: parameter.clone() for name, parameter in autoencoder.named_parameters()}
    train_autoencoder(autoencoder, steps=8, seed=0, checkpoint=tmp_path / "vae.pt")  # type: ignore[arg-type]
    moved = [name for name, parameter in autoencoder.named_parameters() if not torch.equal(parameter, before[name])]
    assert len(moved) > 0.9 * len(before)


def test_latents_are_kept_for_as_long_as_they_fit(tmp_path: Path) -> None:
    cache = tmp_path / "latents.pt"
    autoencoder = new_autoencoder()
    first = encode_scenes(autoencoder, count=16, seed=0, cache=cache)
    written = cache.stat().st_mtime_ns
    again = encode_scenes(autoencoder, count=16, seed=0, cache=cache)
    assert cache.stat().st_mtime_ns == written
    assert all(torch.equal(one.latents, other.latents) for one, other in zip(first, again, strict=True))
    other = encode_scenes(new_autoencoder(), count=16, seed=0, cache=cache)
    assert not torch.equal(other[0].latents, first[0].latents)
    assert all(len(part.scenes) == len(part.latents) for part in other)


@pytest.mark.long
def test_the_command_trains_a_transformer_for_the_encoders_that_there_are(tmp_path: Path) -> None:
    output = Path(shutil.copytree(SMALL_DIRECTORY, tmp_path / "model"))
    folder = str(tmp_path / "checkpoints")
    pictures = tmp_path / "pictures"
    sizes = ["--scenes", "70", "--transformer-steps", "2", "--siblings-steps", "2", "--pictures-steps", "2"]
    outputs = ["--output", str(output), "--pictures-output", str(pictures)]
    main(["--folder", folder, *outputs, "--first", "transformer", "--device", "cpu", *sizes])
    assert model_digest(output) != model_digest(SMALL_DIRECTORY)
    assert not [path for path in output.rglob("*.json") if str(tmp_path) in path.read_text(encoding="utf-8")]
    encoder = Path("text_encoder", "model.safetensors")
    assert (output / encoder).read_bytes() == (SMALL_DIRECTORY / encoder).read_bytes()
    model = load_cogvideox(
        str(output), name=SMALL_NAME, revision=SMALL_REVISION, device="cpu", num_frames=9, native_sizes=[Size(64, 48)]
    )
    assert model.identity.digest == model_digest(output)
    beginning = load_cogvideox(str(pictures), name="pictures", revision="1", device="cpu", num_frames=9)
    assert beginning.input_kinds == {"image_to_video"}
