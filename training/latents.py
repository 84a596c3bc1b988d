"""Drawn scenes as latents, encoded once: what the transformer is trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import diffusers
import numpy as np
import torch

from inference.model import Frames
from inference.native_size import Size
from training.drawing import Clip, draw_clip
from training.pixels import judge
from training.scenes import Scene, draw_scene


class _Kind(NamedTuple):
    """Scenes of one kind: their size, how many there are, and how often the two parts of the training show them."""

    size: Size
    pairs: float
    spread: float
    of_all: float
    shares: tuple[float, float]


_KINDS = (
    # What a caller who sets nothing gets. In the middle of the frame a caption leaves nothing open, so that the
    # words for shapes and motions, which decide little of the picture, are learned; where shapes lie anywhere,
    # they hide behind the chance of the place.
    _Kind(Size(96, 64), pairs=0.0, spread=0.0, of_all=0.5, shares=(1.0, 0.4)),
    _Kind(Size(96, 64), pairs=0.5, spread=0.3, of_all=0.17, shares=(0.0, 0.2)),
    _Kind(Size(64, 96), pairs=0.1, spread=0.15, of_all=0.07, shares=(0.0, 0.09)),
    _Kind(Size(64, 64), pairs=0.1, spread=0.15, of_all=0.06, shares=(0.0, 0.09)),
    _Kind(Size(64, 48), pairs=0.1, spread=0.15, of_all=0.05, shares=(0.0, 0.05)),
    _Kind(Size(48, 64), pairs=0.1, spread=0.15, of_all=0.05, shares=(0.0, 0.05)),
    _Kind(Size(112, 64), pairs=0.1, spread=0.15, of_all=0.05, shares=(0.0, 0.06)),
    _Kind(Size(64, 112), pairs=0.1, spread=0.15, of_all=0.05, shares=(0.0, 0.06)),
)

_PAIRS = 0.25
_SPREAD = 0.3
_AT_ONCE = 4
_SAY_EVERY = 400


@dataclass(frozen=True)
class EncodedScenes:
    """Scenes of one size with their latents `(scenes, latent frames, channels, height / 8, width / 8)`, scaled."""

    scenes: list[Scene]
    latents: torch.Tensor
    shares: tuple[float, float]
    """How often they are shown in the first part of the training, and in the second."""


def round_trip(vae: diffusers.AutoencoderKLCogVideoX, clip: Clip) -> Frames:
    """Encode and decode a clip."""
    with torch.no_grad(), torch.autocast(_device(vae).type, torch.bfloat16):
        decoded = vae.decode(_encode(vae, [clip])).sample  # type: ignore[attr-defined]
    frames = decoded[0].float().permute(1, 2, 3, 0).add(1).mul(127.5).round().clamp(0, 255)
    array: Frames = frames.to(torch.uint8).cpu().numpy()
    return array


def share_that_survives(vae: diffusers.AutoencoderKLCogVideoX, clips: int, seed: int) -> float:
    """The share of drawn clips, all held out from training, in which the checker still sees all after a round trip."""
    survived = []
    lot = np.random.default_rng([seed, clips])
    for _ in range(clips):
        scene = draw_scene(lot, pairs=_PAIRS, spread=_SPREAD, tests=True)
        survived.append(judge(round_trip(vae, draw_clip(scene, 96, 64)), scene).all)
    return float(np.mean(survived))


def encode_scenes(vae: diffusers.AutoencoderKLCogVideoX, *, count: int, seed: int, cache: Path) -> list[EncodedScenes]:
    """Draw and encode `count` scenes of all native sizes, and set the autoencoder's scaling factor to fit them.

    The latents are kept in the file `cache` and read from there, as long as they are of these scenes by this
    autoencoder.
    """
    drawn = [_scenes(kind, round(count * kind.of_all), [seed, place]) for place, kind in enumerate(_KINDS)]
    origin = _origin(vae, count, seed)
    kept = torch.load(cache, weights_only=True) if cache.exists() else {}
    if kept.get("origin") != origin:
        encoded = [_encode_all(vae, scenes, kind.size) for kind, scenes in zip(_KINDS, drawn, strict=True)]
        kept = {"origin": origin, "latents": encoded}
        unfinished = cache.with_suffix(".unfinished")
        torch.save(kept, unfinished)
        unfinished.replace(cache)
    latents: list[torch.Tensor] = kept["latents"]
    squares = torch.cat([one.float().square().flatten() for one in latents])
    # Diffusion adds noise of standard deviation 1: latents should have about the same.
    scaling = float(squares.mean().rsqrt())
    vae.register_to_config(scaling_factor=scaling)  # type: ignore[attr-defined]
    return [
        EncodedScenes(scenes, encoded.float() * scaling, kind.shares)
        for kind, scenes, encoded in zip(_KINDS, drawn, latents, strict=True)
    ]


def _origin(vae: diffusers.AutoencoderKLCogVideoX, count: int, seed: int) -> str:
    """What latents depend on."""
    digest = hashlib.sha256(f"{_KINDS} {count} {seed}".encode())
    for parameter in vae.encoder.parameters():  # type: ignore[attr-defined]
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _scenes(kind: _Kind, count: int, seed: list[int]) -> list[Scene]:
    lot = np.random.default_rng(seed)
    return [draw_scene(lot, pairs=kind.pairs, spread=kind.spread) for _ in range(count)]


def _encode_all(vae: diffusers.AutoencoderKLCogVideoX, scenes: list[Scene], size: Size) -> torch.Tensor:
    parts = []
    for first in range(0, len(scenes), _AT_ONCE):
        clips = [draw_clip(scene, size.width, size.height) for scene in scenes[first : first + _AT_ONCE]]
        with torch.no_grad(), torch.autocast(_device(vae).type, torch.bfloat16):
            parts.append(_encode(vae, clips).permute(0, 2, 1, 3, 4).half().cpu())
        if first % _SAY_EVERY == 0:
            print(f"latents of {size.width} x {size.height}: {first} of {len(scenes)}", flush=True)
    return torch.cat(parts)


def _encode(vae: diffusers.AutoencoderKLCogVideoX, clips: list[Clip]) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([clip.pixels for clip in clips])).permute(0, 4, 1, 2, 3) * 2 - 1
    mode: torch.Tensor = vae.encode(pixels.to(_device(vae))).latent_dist.mode()  # type: ignore[attr-defined]
    return mode


def _device(vae: diffusers.AutoencoderKLCogVideoX) -> torch.device:
    device: torch.device = vae.device  # type: ignore[attr-defined]
    return device
