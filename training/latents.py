"""Drawn scenes as latents, encoded once: what the transformer is trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch

from inference.model import Frames
from inference.native_size import Size
from training.drawing import Clip, draw_clip
from training.pixels import judge
from training.scenes import Scene, draw_scene

_SHARES = {
    Size(96, 64): 0.5,  # what a caller who sets nothing gets
    Size(64, 96): 0.1,
    Size(64, 64): 0.1,
    Size(64, 48): 0.08,
    Size(48, 64): 0.07,
    Size(112, 64): 0.08,
    Size(64, 112): 0.07,
}
"""How much of the training each native size gets."""

_PAIRS = 0.25
_SPREAD = 0.3
_AT_ONCE = 4
_SAY_EVERY = 400


@dataclass(frozen=True)
class EncodedScenes:
    """Scenes of one size with their latents `(scenes, latent frames, channels, height / 8, width / 8)`, scaled."""

    scenes: list[Scene]
    latents: torch.Tensor
    share: float


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
    drawn = {size: _scenes(round(count * share), [seed, size.width, size.height]) for size, share in _SHARES.items()}
    origin = _origin(vae, count, seed)
    kept = torch.load(cache, weights_only=True) if cache.exists() else {}
    if kept.get("origin") != origin:
        encoded = {_key(size): _encode_all(vae, scenes, size) for size, scenes in drawn.items()}
        kept = {"origin": origin, "latents": encoded}
        unfinished = cache.with_suffix(".unfinished")
        torch.save(kept, unfinished)
        unfinished.replace(cache)
    latents = kept["latents"]
    squares = torch.cat([one.float().square().flatten() for one in latents.values()])
    # Diffusion adds noise of standard deviation 1: latents should have about the same.
    scaling = float(squares.mean().rsqrt())
    vae.register_to_config(scaling_factor=scaling)  # type: ignore[attr-defined]
    return [
        EncodedScenes(scenes, latents[_key(size)].float() * scaling, _SHARES[size]) for size, scenes in drawn.items()
    ]


def _origin(vae: diffusers.AutoencoderKLCogVideoX, count: int, seed: int) -> str:
    """What latents depend on."""
    digest = hashlib.sha256(f"{count} {seed}".encode())
    for parameter in vae.encoder.parameters():  # type: ignore[attr-defined]
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _scenes(count: int, seed: list[int]) -> list[Scene]:
    lot = np.random.default_rng(seed)
    return [draw_scene(lot, pairs=_PAIRS, spread=_SPREAD) for _ in range(count)]


def _encode_all(vae: diffusers.AutoencoderKLCogVideoX, scenes: list[Scene], size: Size) -> torch.Tensor:
    parts = []
    for first in range(0, len(scenes), _AT_ONCE):
        clips = [draw_clip(scene, size.width, size.height) for scene in scenes[first : first + _AT_ONCE]]
        with torch.no_grad(), torch.autocast(_device(vae).type, torch.bfloat16):
            parts.append(_encode(vae, clips).permute(0, 2, 1, 3, 4).half().cpu())
        if first % _SAY_EVERY == 0:
            print(f"latents of {_key(size)}: {first} of {len(scenes)}", flush=True)
    return torch.cat(parts)


def _encode(vae: diffusers.AutoencoderKLCogVideoX, clips: list[Clip]) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([clip.pixels for clip in clips])).permute(0, 4, 1, 2, 3) * 2 - 1
    mode: torch.Tensor = vae.encode(pixels.to(_device(vae))).latent_dist.mode()  # type: ignore[attr-defined]
    return mode


def _key(size: Size) -> str:
    return f"{size.width} x {size.height}"


def _device(vae: diffusers.AutoencoderKLCogVideoX) -> torch.device:
    device: torch.device = vae.device  # type: ignore[attr-defined]
    return device
