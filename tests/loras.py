"""LoRAs that tests make: for the small model's attention, or for no model at all."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save

from inference.small_model import SMALL_DIRECTORY

RANK = 4


def lora(seed: int = 0, *, strength: float = 0.5, **renamed: str) -> bytes:
    """The content of a LoRA file for all attention layers of the small model; `renamed` replaces parts of names."""
    config = json.loads((SMALL_DIRECTORY / "transformer" / "config.json").read_text(encoding="utf-8"))
    width = config["num_attention_heads"] * config["attention_head_dim"]
    lot = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for block in range(config["num_layers"]):
        for layer in ("to_q", "to_k", "to_v", "to_out.0"):
            name = f"transformer.transformer_blocks.{block}.attn1.{layer}"
            for old, new in renamed.items():
                name = name.replace(old, new)
            tensors[f"{name}.lora_A.weight"] = lot.normal(0, width**-0.5, (RANK, width)).astype(np.float32)
            tensors[f"{name}.lora_B.weight"] = lot.normal(0, strength, (width, RANK)).astype(np.float32)
    return save(tensors)


def lora_of_width(width: int) -> bytes:
    """A LoRA for a layer of the small model's name, and of another model's size."""
    name = "transformer.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"{name}.lora_A.weight": np.zeros((RANK, width), np.float32),
        f"{name}.lora_B.weight": np.zeros((width, RANK), np.float32),
    }
    return save(tensors)
