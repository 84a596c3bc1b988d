"""The small model's text encoder, trained on its own to read captions, before any video.

CogVideoX's T5 comes with an understanding of language. This one gets its own from a reading test: small heads, one for
each trait of a scene, look for the word that tells it. Trained together with the transformer alone, it learned which
colours a caption names long before it learned which of them is the background's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn import functional

from inference.prompt_embeddings import MAX_TEXT_TOKENS
from training.captions import caption
from training.loop import train
from training.scenes import PALETTE, Motion, Scene, Shape, Size, draw_scene

TEXT_WIDTH = 64
_BATCH = 64
_SHORT_TEXT = (0.8, 48)
"""Until this share of the steps captions have so few tokens, padding included; then as many as the pipeline gives."""

_TRAITS: dict[str, list[str]] = {
    "shape": list(Shape),
    "color": list(PALETTE),
    "size": list(Size),
    "motion": list(Motion),
}


class _Reader(nn.Module):
    """Tells the traits of a scene from the encoder's states: each has a query that looks for the word to read."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [len(PALETTE)] + 2 * [len(names) + 1 for names in _TRAITS.values()]
        self.queries = nn.Parameter(torch.randn(len(sizes), TEXT_WIDTH) / TEXT_WIDTH**0.5)
        self.keys = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)
        self.heads = nn.ModuleList(nn.Linear(TEXT_WIDTH, size) for size in sizes)

    def forward(self, states: torch.Tensor) -> list[torch.Tensor]:
        """Scores `(B, classes)` of each trait, from states `(B, tokens, width)`."""
        attention = torch.softmax(self.queries @ self.keys(states).transpose(1, 2) / TEXT_WIDTH**0.5, dim=-1)
        read = attention @ states
        return [head(read[:, place]) for place, head in enumerate(self.heads)]


def new_text_encoder(vocabulary: int) -> transformers.T5EncoderModel:
    """Make an untrained T5 encoder of two layers for so many tokens."""
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=vocabulary,
            d_model=TEXT_WIDTH,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )


def train_text_encoder(
    text_encoder: transformers.T5EncoderModel, tokenizer: Any, *, steps: int, seed: int, checkpoint: Path
) -> float:
    """Train the encoder in place.

    Returns the share of traits that are read rightly from complete captions of scenes that training never sees.
    """
    encoder: nn.Module = text_encoder
    device = next(encoder.parameters()).device
    parts = nn.ModuleDict({"encoder": encoder, "reader": _Reader().to(device)})

    def scores(captions: list[str], length: int) -> list[torch.Tensor]:
        states = encoder(tokens(tokenizer, captions, length).to(device))[0]
        read: list[torch.Tensor] = parts["reader"](states)
        return read

    def loss_at(step: int) -> torch.Tensor:
        lot = np.random.default_rng([seed, 17, step])
        scenes = [draw_scene(lot, pairs=0.3) for _ in range(_BATCH)]
        length = _SHORT_TEXT[1] if step / steps < _SHORT_TEXT[0] else MAX_TEXT_TOKENS
        read = scores([caption(scene, lot) for scene in scenes], length)
        wanted = torch.tensor([_labels(scene) for scene in scenes], device=device)
        errors = [functional.cross_entropy(scored, wanted[:, place]) for place, scored in enumerate(read)]
        return torch.stack(errors).mean()

    parts.train()
    train(parts, loss_at, name="text encoder", steps=steps, learning_rate=2e-3, decay=0.995, checkpoint=checkpoint)
    parts.eval()
    lot = np.random.default_rng([seed, 18])
    unseen = [draw_scene(lot, tests=True) for _ in range(300)]
    with torch.no_grad():
        read = scores([caption(scene, lot, complete=True) for scene in unseen], MAX_TEXT_TOKENS)
    wanted = torch.tensor([_labels(scene) for scene in unseen], device=device)
    # Size is left out: captions need not name it.
    told = [0, *(1 + place for place, trait in enumerate(_TRAITS) if trait != "size")]
    return float(np.mean([(read[place].argmax(-1) == wanted[:, place]).float().mean().item() for place in told]))


def tokens(tokenizer: Any, captions: list[str], length: int = MAX_TEXT_TOKENS) -> torch.Tensor:
    """Token ids `(B, length)`, padded or cut as the pipeline does."""
    ids: torch.Tensor = tokenizer(
        captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def _labels(scene: Scene) -> list[int]:
    """The background's colour, then the traits of the first and of the second shape; the last class is absence."""
    labels = [list(PALETTE).index(scene.background)]
    for place in range(2):
        for trait, names in _TRAITS.items():
            there = place < len(scene.shapes)
            labels.append(names.index(getattr(scene.shapes[place], trait)) if there else len(names))
    return labels
