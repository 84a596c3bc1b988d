"""Loading a model: what it is called, and clear words when it cannot be loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from inference.cogvideox import CogVideoXModel
from inference.cogvideox_loading import load_cogvideox
from inference.model import DeviceError
from inference.weights import ModelLoadError, model_digest


def load(model: str, *, revision: str = "shapes-4", device: str = "cpu") -> CogVideoXModel:
    return load_cogvideox(model, name="cogreel-small", revision=revision, device=device, num_frames=9)


@pytest.fixture
def copy(small_model_directory: Path, tmp_path: Path) -> Path:
    """The small model, free to be damaged."""
    return Path(shutil.copytree(small_model_directory, tmp_path / "copy"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def truncate(directory: Path) -> None:
    path = directory / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def drop_tensor(directory: Path) -> None:
    # A deeper model's configuration over these weights: the layer that is missing would come out random.
    edit_json(directory / "transformer" / "config.json", num_layers=7)


def drop_text_tensor(directory: Path) -> None:
    edit_json(directory / "text_encoder" / "config.json", num_layers=3)


def change_shape(directory: Path) -> None:
    edit_json(directory / "transformer" / "config.json", num_attention_heads=2)


def garble_config(directory: Path) -> None:
    (directory / "vae" / "config.json").write_text("{")


def garble_index(directory: Path) -> None:
    (directory / "model_index.json").write_text("[]")


def remove_weights(directory: Path) -> None:
    (directory / "vae" / "diffusion_pytorch_model.safetensors").unlink()


def remove_tokenizer(directory: Path) -> None:
    shutil.rmtree(directory / "tokenizer")


def remove_index(directory: Path) -> None:
    (directory / "model_index.json").unlink()


def make_image_to_video(directory: Path) -> None:
    edit_json(directory / "model_index.json", _class_name="CogVideoXImageToVideoPipeline")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        drop_tensor,
        drop_text_tensor,
        change_shape,
        garble_config,
        garble_index,
        remove_weights,
        remove_tokenizer,
        remove_index,
        make_image_to_video,
    ],
)
def test_a_damaged_model_is_named_and_not_loaded(copy: Path, damage: Callable[[Path], None]) -> None:
    damage(copy)
    with pytest.raises(ModelLoadError) as refused:
        load(str(copy))
    assert str(copy) in str(refused.value)


@pytest.mark.parametrize("name", ["./no/such", "/no/such/model", "~/no-such-model", "model", "a/b/c"])
def test_a_model_that_is_not_there_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ModelLoadError, match=f"{name}: it is no directory"):
        load(name)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_hub_model_is_loaded_from_the_cache_at_its_pinned_revision(
    hub_cache: Path, small_model_directory: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(small_model_directory, hub_cache / "models--some--model" / "snapshots" / commit)
    identity = load("some/model", revision=commit).identity
    assert (identity.name, identity.revision) == ("cogreel-small", commit)
    assert identity.digest == model_digest(small_model_directory)


def test_a_hub_model_that_cannot_be_had_says_what_to_do(hub_cache: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"some/model.*revision main.*Check the name"):
        load("some/model", revision="main")


def test_the_digest_is_the_same_wherever_the_files_lie(copy: Path, small_model_directory: Path) -> None:
    (copy / "README.md").write_text("about it")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "download.json").write_text("{}")
    (copy / "vae").rename(copy.parent / "elsewhere")
    (copy / "vae").symlink_to(copy.parent / "elsewhere")
    assert load(str(copy)).identity.digest == load(str(small_model_directory)).identity.digest


@pytest.mark.parametrize(
    "file", ["transformer/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json", "vae/config.json"]
)
def test_the_digest_changes_with_any_file_that_counts(copy: Path, file: str) -> None:
    before = model_digest(copy)
    content = bytearray((copy / file).read_bytes())
    content[-2] ^= 1
    (copy / file).write_bytes(content)
    assert model_digest(copy) != before


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_a_device_that_is_not_there_is_a_device_error(small_model_directory: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=device):
        load(str(small_model_directory), device=device)
