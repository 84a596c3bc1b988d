"""Drawn scenes as latents, encoded once: what the transformer is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch

from inference.model import Frames
from inference.native_size import Size
from training.drawing import Clip, Floats, draw_clip
from training.pixels import judge
from training.scenes import Scene, centred_scenes, draw_scene


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
    drawn = _draw_all(count, seed)
    latents = _kept(vae, cache, drawn, [kind.size for kind in _KINDS])
    squares = torch.cat([one.float().square().flatten() for one in latents])
    # Diffusion adds noise of standard deviation 1: latents should have about the same.
    vae.register_to_config(scaling_factor=float(squares.mean().rsqrt()))  # type: ignore[attr-defined]
    return _scaled(vae, drawn, latents)


def encode_beginnings(
    vae: diffusers.AutoencoderKLCogVideoX, *, count: int, seed: int, cache: Path
) -> list[EncodedScenes]:
    """As `encode_scenes`, scenes whose first frame tells nothing of the motion; the scaling factor stays as it is."""
    drawn = [[_begun(scene) for scene in scenes] for scenes in _draw_all(count, seed)]
    return _scaled(vae, drawn, _kept(vae, cache, drawn, [kind.size for kind in _KINDS]))


def encode_centred(
    vae: diffusers.AutoencoderKLCogVideoX, *, most: int, cache: Path
) -> tuple[list[Scene], torch.Tensor]:
    """Draw and encode the scenes of one shape in the middle, at 96 x 64: the first `most` of `centred_scenes`."""
    scenes = centred_scenes()[:most]
    (latents,) = _kept(vae, cache, [scenes], [Size(96, 64)])
    return scenes, latents.float() * vae.config.scaling_factor  # type: ignore[attr-defined]


def encode_first_frames(vae: diffusers.AutoencoderKLCogVideoX, data: list[EncodedScenes]) -> list[torch.Tensor]:
    """Encode the first frame of each clip by itself: latents `(scenes, 1, channels, height / 8, width / 8)`, scaled.

    Drawn from the autoencoder's distribution, as diffusers' pipeline draws a start picture's.
    """
    encode: Callable[[torch.Tensor], Any] = vae.encode  # type: ignore[attr-defined]
    encoded = []
    torch.manual_seed(0)
    for part in data:
        _, _, _, height, width = part.latents.shape
        first = [draw_clip(scene, width * 8, height * 8).pixels[:1] for scene in part.scenes]
        with torch.no_grad():
            drawn = [
                encode(_pixels(vae, first[place : place + _AT_ONCE])).latent_dist.sample()
                for place in range(0, len(first), _AT_ONCE)
            ]
        scaling: float = vae.config.scaling_factor  # type: ignore[attr-defined]
        encoded.append(torch.cat(drawn).permute(0, 2, 1, 3, 4).cpu() * scaling)
    return encoded


def _kept(
    vae: diffusers.AutoencoderKLCogVideoX, cache: Path, drawn: list[list[Scene]], sizes: list[Size]
) -> list[torch.Tensor]:
    """Read the latents of scenes from the file `cache`, or encode and write them."""
    origin = _origin(vae, drawn, sizes)
    kept = torch.load(cache, weights_only=True) if cache.exists() else {}
    if kept.get("origin") != origin:
        encoded = [_encode_all(vae, scenes, size) for scenes, size in zip(drawn, sizes, strict=True)]
        kept = {"origin": origin, "latents": encoded}
        unfinished = cache.with_suffix(".unfinished")
        torch.save(kept, unfinished)
        unfinished.replace(cache)
    latents: list[torch.Tensor] = kept["latents"]
    return latents


def _origin(vae: diffusers.AutoencoderKLCogVideoX, drawn: list[list[Scene]], sizes: list[Size]) -> str:
    """What latents depend on."""
    digest = hashlib.sha256(f"{drawn} {sizes}".encode())
    for parameter in vae.encoder.parameters():  # type: ignore[attr-defined]
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _draw_all(count: int, seed: int) -> list[list[Scene]]:
    """Draw `count` scenes, by their kinds."""
    lots = [np.random.default_rng([seed, place]) for place in range(len(_KINDS))]
    return [
        [draw_scene(lot, pairs=kind.pairs, spread=kind.spread) for _ in range(round(count * kind.of_all))]
        for kind, lot in zip(_KINDS, lots, strict=True)
    ]


def _begun(scene: Scene) -> Scene:
    return replace(scene, shapes=tuple(replace(shape, begins_there=True) for shape in scene.shapes))


def _scaled(
    vae: diffusers.AutoencoderKLCogVideoX, drawn: list[list[Scene]], latents: list[torch.Tensor]
) -> list[EncodedScenes]:
    scaling: float = vae.config.scaling_factor  # type: ignore[attr-defined]
    return [
        EncodedScenes(scenes, encoded.float() * scaling, kind.shares)
        for kind, scenes, encoded in zip(_KINDS, drawn, latents, strict=True)
    ]


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
    mode: torch.Tensor = vae.encode(_pixels(vae, [clip.pixels for clip in clips])).latent_dist.mode()  # type: ignore[attr-defined]
    return mode


def _pixels(vae: diffusers.AutoencoderKLCogVideoX, clips: list[Floats]) -> torch.Tensor:
    """Clips `(frames, height, width, 3)` from 0 to 1 as one tensor `(clips, 3, frames, height, width)` from -1 to 1."""
    return (torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3) * 2 - 1).to(_device(vae))


def _device(vae: diffusers.AutoencoderKLCogVideoX) -> torch.device:
    device: torch.device = vae.device  # type: ignore[attr-defined]
    return device
