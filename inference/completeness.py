"""Whether a model's files are all there and whole, told from their names, headers and sizes: seconds, and no torch.

Loading finds the same and more, after minutes. What can be seen only by loading is left to it.
"""

from __future__ import annotations

import json
from pathlib import Path

from inference.weights import ModelLoadError

_WITH_WEIGHTS = ("text_encoder", "transformer", "vae")
_CONFIGURATION = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
_HEADER_LENGTH_BYTES = 8  # safetensors: a length, a JSON header of that length, the tensors
_FETCH_AGAIN = "Delete it and fetch it again."


def check_files(directory: Path) -> int:
    """Look for every file that the model needs; returns the bytes of its weights.

    `directory` is what `resolve_model` returned.

    Raises:
        ModelLoadError: a file is missing or cut short, or the model is a CogVideoX 1.5.
    """
    index = _json(directory, "model_index.json")
    components = {name for name, kind in index.items() if isinstance(kind, list) and kind and kind[0]}
    for name in sorted({*components, *_WITH_WEIGHTS, *_CONFIGURATION}):
        configuration = _json(directory, f"{name}/{_CONFIGURATION.get(name, 'config.json')}")
        if name == "transformer" and configuration.get("patch_size_t") is not None:
            raise ModelLoadError(str(directory), "it is a CogVideoX 1.5", "Use a CogVideoX 1.0, such as CogVideoX-5b.")
    if not any((directory / "tokenizer" / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        raise ModelLoadError(str(directory), "its tokenizer has no vocabulary", _FETCH_AGAIN)
    return sum(_weights_bytes(directory, name) for name in _WITH_WEIGHTS)


def _json(directory: Path, name: str) -> dict[str, object]:
    try:
        content: object = json.loads((directory / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(str(directory), f"{name} is missing or unreadable", _FETCH_AGAIN) from error
    if not isinstance(content, dict):
        raise ModelLoadError(str(directory), f"{name} is not a JSON object", _FETCH_AGAIN)
    return content


def _weights_bytes(directory: Path, component: str) -> int:
    folder = directory / component
    names = {path.name for path in folder.glob("*.safetensors")}
    for index in folder.glob("*.safetensors.index.json"):
        shards = _json(directory, f"{component}/{index.name}").get("weight_map")
        names |= set(shards.values()) if isinstance(shards, dict) else set()
    if not names:
        pickled = "only weights in another format than safetensors" if any(folder.glob("*.bin")) else "no weights"
        raise ModelLoadError(str(directory), f"{component} has {pickled}", _FETCH_AGAIN)
    return sum(_whole_bytes(directory, folder / name) for name in sorted(names))


def _whole_bytes(directory: Path, path: Path) -> int:
    """The size of a safetensors file, which must be what its header says."""
    name = path.relative_to(directory)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
            header = json.loads(file.read(length)) if length < size else {}
    except FileNotFoundError as error:
        raise ModelLoadError(str(directory), f"{name} is missing", _FETCH_AGAIN) from error
    except (OSError, ValueError) as error:
        raise ModelLoadError(str(directory), f"{name} is unreadable ({error})", _FETCH_AGAIN) from error
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    if not ends or size != _HEADER_LENGTH_BYTES + length + max(ends):
        raise ModelLoadError(str(directory), f"{name} is cut short or corrupt ({size} bytes)", _FETCH_AGAIN)
    return size
