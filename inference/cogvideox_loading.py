"""Loading a CogVideoX model onto a device, or saying clearly why it cannot be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import cast

import diffusers
import torch

from inference.acceleration import accelerate, check_profile
from inference.cogvideox import CogVideoXModel
from inference.device_memory import device_memory_bytes
from inference.model import DeviceError, ModelIdentity
from inference.native_size import Size
from inference.offloading import Offload, Residence, fitting
from inference.pipeline import Pipeline, Scheduler
from inference.profiles import EXACT, Profile
from inference.quiet_libraries import quieten_libraries
from inference.weights import (
    PICTURE_PIPELINE,
    ModelLoadError,
    model_digest,
    pipeline_name,
    resolve_model,
    stored_tensors,
)


class Sampler(StrEnum):
    """How the noise is taken away: the scheduler and the guidance that go together."""

    MODEL_CARD = "model_card"
    """The scheduler that the model's files name (DDIM for CogVideoX-5b) and constant guidance, as in the
    example of the published model card. This is also what diffusers does when nothing else is asked for."""

    DPM_DYNAMIC = "dpm_dynamic"
    """`CogVideoXDPMScheduler` with trailing time steps and diffusers' dynamic guidance, as in the demos of
    CogVideo's authors, who recommend it for the 5B model. The guidance swings between 1 and the requested
    scale plus 1 from step to step; the authors chose to keep that (zai-org/CogVideo issue 267)."""


def load_cogvideox(
    model: str,
    *,
    name: str,
    revision: str,
    device: str,
    num_frames: int = 49,  # what CogVideoX-5B was trained for: 6 s at 8 frames a second, and the first one
    native_sizes: Sequence[Size] = (),
    sampler: Sampler = Sampler.MODEL_CARD,
    profile: Profile = EXACT,
    offload: Offload = Offload.NONE,
    cpu_threads: int = 1,
) -> CogVideoXModel:
    """Load a CogVideoX model for text or for start pictures, in bf16 on `cuda:N` and in fp32 on `cpu`.

    `model` is a directory in diffusers format or a hub id, `revision` the hub's revision, best a commit
    hash; together with `name` it is handed on in the model's identity, whose digest is computed from the
    files (for CogVideoX-5B's 22 GB, some tens of seconds). `num_frames`, `native_sizes` and
    `cpu_threads` are explained at `CogVideoXModel`, `profile` at `Profile`, `offload` at `Offload`.

    Sets for the whole process: diffusers and transformers log errors only; cuDNN keeps to deterministic
    algorithms.

    Raises:
        ModelLoadError: the model is missing, incomplete, corrupt or of another kind.
        DeviceError: there is no such device, it cannot do what the profile asks for, or the model does not fit.
        ValueError: `num_frames` or a native size is not possible for this model.
    """
    quieten_libraries()
    target = _check_device(device)
    dtype = torch.bfloat16 if target.type == "cuda" else torch.float32
    check_profile(profile, target, dtype)
    directory = resolve_model(model, revision)
    identity = ModelIdentity(name=name, revision=revision, digest=model_digest(directory), profile=profile.name)
    try:
        loaded = getattr(diffusers, pipeline_name(directory)).from_pretrained(
            directory,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
        )
    except Exception as error:
        # A damaged file may raise nearly anything, by way of JSON, safetensors, sentencepiece or torch.
        raise ModelLoadError(
            str(directory), f"its files are incomplete or corrupt ({error})", "Delete it and fetch it again."
        ) from error
    pipeline = cast(Pipeline, loaded)
    _check_complete(pipeline, directory)
    _check_channels(pipeline, directory)
    if pipeline.transformer.config["patch_size_t"] is not None:
        raise ModelLoadError(str(directory), "it is a CogVideoX 1.5", "Use a CogVideoX 1.0, such as CogVideoX-5b.")
    if sampler is Sampler.DPM_DYNAMIC:
        recommended = diffusers.CogVideoXDPMScheduler.from_config(  # type: ignore[no-untyped-call]
            pipeline.scheduler.config, timestep_spacing="trailing"
        )
        pipeline.scheduler = cast(Scheduler, recommended)
    accelerate(pipeline.transformer, profile)
    if offload is Offload.AUTO:
        largest = max(native_sizes, key=lambda size: size.width * size.height, default=Size(720, 480))
        memory_bytes = device_memory_bytes(device) if target.type == "cuda" else sys.maxsize
        offload = fitting(pipeline, memory_bytes=memory_bytes, frames=num_frames, size=largest)
    residence = Residence(target, offload)
    try:
        residence.settle(pipeline)
    except RuntimeError as error:
        raise DeviceError(f"{directory} does not go onto {device}: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return CogVideoXModel(
        pipeline,
        identity,
        num_frames=num_frames,
        native_sizes=native_sizes,
        dynamic_guidance=sampler is Sampler.DPM_DYNAMIC,
        cpu_threads=cpu_threads,
        residence=residence,
    )


def _check_device(device: str) -> torch.device:
    """Return the torch device, made deterministic; only `cpu` and `cuda:N` are supported."""
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"{device!r} is no device: use cpu or cuda:N") from error
    if target.type == "cuda":
        if (target.index or 0) >= torch.cuda.device_count():
            raise DeviceError(f"there is no {device}: torch finds {torch.cuda.device_count()} CUDA devices")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    elif target.type != "cpu":
        raise DeviceError(f"{device} is not supported: use cpu or cuda:N")
    return target


def _check_channels(pipeline: Pipeline, directory: Path) -> None:
    """Refuse an index and weights of two kinds: one for text and one for start pictures."""
    named = pipeline_name(directory)
    latent, taken = pipeline.vae.config["latent_channels"], pipeline.transformer.config["in_channels"]
    if taken != (2 * latent if named == PICTURE_PIPELINE else latent):
        raise ModelLoadError(
            str(directory),
            f"it says that it is a {named}, but its transformer takes {taken} channels of {latent} latent ones",
            "Delete it and fetch it again.",
        )


def _check_complete(pipeline: Pipeline, directory: Path) -> None:
    """Refuse gaps: the libraries fill them with random weights or an empty vocabulary, and warn at most."""
    if not any((directory / "tokenizer" / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        raise ModelLoadError(str(directory), "its tokenizer has no vocabulary", "Delete it and fetch it again.")
    for component in ("text_encoder", "transformer", "vae"):
        module = cast(torch.nn.Module, getattr(pipeline, component))
        stored = stored_tensors(directory / component)
        parameters = dict(module.named_parameters(remove_duplicate=False))
        # T5's token table has two names and is stored under one.
        found = {id(parameter) for name, parameter in parameters.items() if name in stored}
        missing = sorted(name for name, parameter in parameters.items() if id(parameter) not in found)
        if missing:
            raise ModelLoadError(
                str(directory),
                f"{component} lacks {len(missing)} of {len(parameters)} tensors, {missing[0]} the first",
                "Delete it and fetch it again.",
            )
