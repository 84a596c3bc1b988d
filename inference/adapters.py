"""A LoRA on a loaded model for one request, and exactly off it again.

It is never fused: what is added to weights and taken off again does not leave the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import diffusers
import torch
from safetensors import SafetensorError

from inference.model import InputError, Lora
from inference.pipeline import Pipeline

_NAME = "request"
_PREFIX = "transformer."


@contextmanager
def applied(pipeline: Pipeline, lora: Lora | None) -> Iterator[None]:
    """Have the pipeline's transformer adapted within the block, at the LoRA's scale.

    Raises:
        InputError: the file is no LoRA, or not one for this model.
    """
    if lora is None:
        yield
        return
    tensors = _read(lora)
    transformer = cast(torch.nn.Module, pipeline.transformer)
    _check_fit(tensors, transformer, lora)
    try:
        try:
            pipeline.load_lora_weights(tensors, adapter_name=_NAME)
            _compute_as_the_rest(transformer)
        except (ValueError, RuntimeError, KeyError) as error:
            raise InputError(f"{lora.field}.path", f"the LoRA cannot be loaded: {error}") from error
        pipeline.set_adapters([_NAME], [lora.scale])
        # Not compiled: the adapted layers are others each time, and each rank and scale would be compiled anew.
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        # Also where loading broke off half-way; the layers are then what they were, to the bit.
        pipeline.unload_lora_weights()


def _compute_as_the_rest(transformer: torch.nn.Module) -> None:
    """Give adapters the model's precision: beside layers of 8-bit floats PEFT leaves them in float32."""
    precision = next(transformer.parameters()).dtype  # of the way in, which is never rounded
    for name, parameter in transformer.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.to(precision)


def _read(lora: Lora) -> dict[str, torch.Tensor]:
    """The tensors by their names in diffusers, whichever trainer's names the file has."""
    try:
        tensors = diffusers.CogVideoXPipeline.lora_state_dict(
            str(lora.path), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise InputError(f"{lora.field}.path", f"the file is no LoRA that can be read: {error}") from error
    return dict(tensors)


def _check_fit(tensors: Mapping[str, torch.Tensor], transformer: torch.nn.Module, lora: Lora) -> None:
    """Refuse what does not belong to this transformer: the loader would leave it out without a word."""
    layers = {name: module for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)}
    for name, tensor in tensors.items():
        if name.endswith(".alpha"):
            continue
        layer_name, _, part = name.removeprefix(_PREFIX).rpartition(".lora_")
        layer = layers.get(layer_name)
        if not name.startswith(_PREFIX) or layer is None or part not in {"A.weight", "B.weight"}:
            raise InputError(f"{lora.field}.path", f"the LoRA is for another model: this one has no {name}")
        side, place = (layer.in_features, 1) if part == "A.weight" else (layer.out_features, 0)
        if tensor.ndim != 2 or tensor.shape[place] != side:
            shape = " × ".join(map(str, tensor.shape))
            raise InputError(
                f"{lora.field}.path", f"the LoRA is for another model: {name} is {shape}, and should have {side} for it"
            )
