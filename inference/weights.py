"""Where a model's files are and which files they are: finding them, naming them by digest, missing none.

Needs no torch, so that a process can look for a model and name the trouble without loading one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

MODEL_FILE_PATTERNS = ("*.json", "*.model", "*.safetensors")
"""The files that make a model in diffusers format: configuration, SentencePiece vocabulary, weights.

Weights come as safetensors only: unpickling a `.bin` runs whatever code is in it.
"""

_HASHING_THREADS = 4  # hashing 22 GB is bound by the disk soon after


class ModelLoadError(Exception):
    """A model is missing, incomplete or corrupt. The message names it and says what to do."""

    def __init__(self, model: str, problem: str, remedy: str) -> None:
        super().__init__(f"cannot load the model {model}: {problem}. {remedy}")
        self.model = model
        self.problem = problem
        self.remedy = remedy


TEXT_PIPELINE = "CogVideoXPipeline"
"""What a model for text is in diffusers; it does for source videos too."""
PICTURE_PIPELINE = "CogVideoXImageToVideoPipeline"
"""What a model for start pictures is."""


def resolve_model(model: str, revision: str) -> Path:
    """Return the directory that holds `model`, fetching it from the Hugging Face hub where needed.

    `model` is a directory in diffusers format or a hub id such as `zai-org/CogVideoX-5b`; `revision` is the
    hub's commit hash, tag or branch, and means nothing for a directory. A commit that the local cache holds
    completely is used without asking the hub. `HF_HOME` and `HF_HUB_OFFLINE` mean what they mean to
    huggingface_hub.

    Raises:
        ModelLoadError: there is no such model, it cannot be fetched, or it is of another kind.
    """
    directory = Path(model).expanduser()
    if not directory.is_dir():
        if directory.exists() or model.startswith((".", "~", "/")) or model.count("/") != 1:
            raise ModelLoadError(
                model, "it is no directory", "Name a directory in diffusers format, or a hub id `owner/name`."
            )
        directory = _fetch(model, revision)
    pipeline = pipeline_name(directory)
    if pipeline not in {TEXT_PIPELINE, PICTURE_PIPELINE}:
        raise ModelLoadError(
            model,
            f"it is a {pipeline}",
            f"What is served is a {TEXT_PIPELINE}, as in zai-org/CogVideoX-5b, or a {PICTURE_PIPELINE}, as in "
            "zai-org/CogVideoX-5b-I2V.",
        )
    return directory


def pipeline_name(directory: Path) -> str:
    """The class of pipeline that a model's index names.

    Raises:
        ModelLoadError: there is no such index.
    """
    index = directory / "model_index.json"
    try:
        return str(json.loads(index.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelLoadError(
            str(directory), f"{index} is missing or unreadable", "Is this a model in diffusers format? Fetch it again."
        ) from error


def model_digest(directory: Path) -> str:
    """Return the SHA-256, hexadecimal, over a model's files.

    It is the digest of a listing as `sha256sum` prints it, one line a file, sorted by path relative to
    `directory`; files elsewhere than in `MODEL_FILE_PATTERNS`, and hidden ones, do not count. So the same
    files give the same digest wherever they lie, and it can be checked by hand.
    """
    files = {path.relative_to(directory).as_posix(): path for path in _model_files(directory)}
    with ThreadPoolExecutor(_HASHING_THREADS) as threads:
        sums = dict(zip(files, threads.map(_file_sha256, files.values()), strict=True))
    listing = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    return hashlib.sha256(listing.encode()).hexdigest()


def stored_tensors(component: Path) -> frozenset[str]:
    """Return the names of all tensors in a component's safetensors files; only the headers are read."""
    from safetensors import safe_open  # noqa: PLC0415 - absent where only the simulated device works

    names: set[str] = set()
    for path in sorted(component.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            names.update(tensors.keys())
    return frozenset(names)


def _fetch(model: str, revision: str) -> Path:
    import huggingface_hub  # noqa: PLC0415 - absent where only the simulated device works

    try:
        return Path(
            huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=list(MODEL_FILE_PATTERNS))
        )
    except Exception as error:
        # No network, no such repository, no such revision, no permission, no space: each has a type of its
        # own, from three libraries, and the same consequence.
        raise ModelLoadError(
            model,
            f"it is no directory here, and revision {revision} of it cannot be had from the hub ({error})",
            "Check the name, the revision and the network; gated models need HF_TOKEN.",
        ) from error


def _model_files(directory: Path) -> Iterable[Path]:
    # os.walk, since Path.rglob passes over components that are symbolic links to folders.
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and any(fnmatch(name, pattern) for pattern in MODEL_FILE_PATTERNS):
                yield Path(folder, name)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
