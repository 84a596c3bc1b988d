"""The last stage of the training: clips that differ in one trait alone, side by side, so that words for it count.

The shape of what moves is a hundredth of a clip's variance, and so of the loss: of all words those for shapes are
learned last. But where several clips share scene, noise and time step, and differ in their shape alone, the difference
of their velocities holds nothing else. It gets a weight of its own here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.latents import EncodedScenes
from training.scenes import Motion, Scene, Shape
from training.transformer import BATCH, Pipeline, captions_of, draw_noise, draw_timesteps, fit, predict

_SIBLINGS = 4
"""Clips that share everything but one trait: as many as there are shapes."""

_BY_SHAPE = 0.7
"""How often that trait is the shape; else it is the motion."""

_DIFFERENCE = 8.0
"""The weight of how siblings differ, beside what they have in common: the two are then about as large."""

_OTHERS = 0.2
"""How often a step shows scenes of all kinds as before, so that they are not forgotten."""

_DETAILS = 0.55
"""The share of the steps after which most show clips with less noise: what a clip shows is decided by then, but its
outlines are not drawn well. Of clips that were noised to time step 299 and denoised again, 8 of 50 had lost their
shape."""


def train_on_siblings(
    pipeline: Pipeline,
    scenes: list[Scene],
    latents: torch.Tensor,
    others: list[EncodedScenes],
    *,
    steps: int,
    seed: int,
    checkpoint: Path,
    learning_rate: float = 8e-4,
) -> None:
    """Train the transformer on, in place.

    Args:
        pipeline: a model whose transformer has been trained on all kinds of scenes.
        scenes: scenes of one shape each, with their `latents`.
        others: scenes of all kinds, which are shown now and then.
    """
    device: torch.device = pipeline.device
    families = (_families(scenes, "shape"), _families(scenes, "motion"))
    shares = np.array([part.shares[1] for part in others])

    def loss_at(step: int) -> torch.Tensor:
        lot = np.random.default_rng([seed, step])
        details = step >= _DETAILS * steps
        if lot.random() < _OTHERS:
            part = others[int(lot.choice(len(others), p=shares))]
            places = lot.integers(len(part.scenes), size=BATCH)
            captions = captions_of([part.scenes[place] for place in places], lot)
            clean = part.latents[torch.from_numpy(places)].to(device)
            timesteps = draw_timesteps(lot, BATCH, details=details)
            predicted, target = predict(pipeline, clean, draw_noise(lot, clean), timesteps, captions)
            return functional.mse_loss(predicted, target)
        count = BATCH // _SIBLINGS
        places = np.concatenate([_draw_family(families[int(lot.random() >= _BY_SHAPE)], lot) for _ in range(count)])
        captions = captions_of([scenes[place] for place in places], lot)
        clean = latents[torch.from_numpy(places)].to(device)
        noise = draw_noise(lot, clean[::_SIBLINGS]).repeat_interleave(_SIBLINGS, dim=0)
        timesteps = draw_timesteps(lot, count, details=details).repeat(_SIBLINGS)
        predicted, target = predict(pipeline, clean, noise, timesteps, captions)
        error = (predicted - target).reshape(count, _SIBLINGS, *clean.shape[1:])
        in_common = error.mean(1, keepdim=True)
        return in_common.square().mean() + _DIFFERENCE * (error - in_common).square().mean()

    fit(pipeline, loss_at, name="siblings", steps=steps, checkpoint=checkpoint, learning_rate=learning_rate)


def _families(scenes: list[Scene], trait: str) -> list[list[int]]:
    """The places of scenes that are equal but for one trait of their shape."""
    anything = {"shape": Shape.CIRCLE, "motion": Motion.STILL}
    families: dict[Hashable, list[int]] = defaultdict(list)
    for place, scene in enumerate(scenes):
        (shape,) = scene.shapes
        families[scene.background, replace(shape, **{trait: anything[trait]})].append(place)  # type: ignore[arg-type]
    return [family for family in families.values() if len(family) > 1]


def _draw_family(families: list[list[int]], lot: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw siblings; where there are too few, some are there twice."""
    family = lot.permutation(families[int(lot.integers(len(families)))])
    return np.resize(family, _SIBLINGS)
