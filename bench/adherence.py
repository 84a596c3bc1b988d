"""How well the small model does what prompts say, and what each way to go faster costs: `python -m bench.adherence`.

Generates clips of held-out prompts by one model in several ways, has the pixel checker judge them, and
compares each clip with that of the card's defaults (PSNR over all pixels, SSIM as Wang et al. 2004 have it, by frame).
`--sheet FILE` writes a contact sheet.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torchmetrics.functional.image import structural_similarity_index_measure

from inference.cogvideox import CogVideoXModel
from inference.cogvideox_loading import Sampler
from inference.model import Frames, Picture
from inference.native_size import Size
from inference.profiles import EXACT, Profile
from training.adherence import (
    DEFAULT_GUIDANCE,
    DEFAULT_SIZE,
    DEFAULT_STEPS,
    Sample,
    by_motion,
    clip_of,
    held_out_samples,
    load_small_model,
    shares,
    with_picture,
)
from training.pixels import judge, look_at

_THREADS = 2

UNNAMED = "A circle rests on a {background} background."
"""A prompt that leaves the colour open, which the negative prompt then takes from."""


@dataclass(frozen=True)
class Way:
    """A way to run the model."""

    name: str
    steps: int = DEFAULT_STEPS
    guidance: float = DEFAULT_GUIDANCE
    size: Size = DEFAULT_SIZE
    sampler: Sampler = Sampler.MODEL_CARD
    profile: Profile = EXACT


_PROFILES = (
    *(Profile(step_cache) for step_cache in (0.1, 0.2, 0.3, 0.6)),
    Profile(float8=True),
    Profile(0.1, float8=True),
    Profile(compiled=True),
)

WAYS = (
    Way("the card's defaults"),
    Way("guidance 1", guidance=1.0),
    Way("guidance 4", guidance=4.0),
    Way("guidance 7", guidance=7.0),
    Way("2 steps", steps=2),
    Way("4 steps", steps=4),
    Way("8 steps", steps=8),
    Way("50 steps", steps=50),
    Way("DPM, dynamic guidance", sampler=Sampler.DPM_DYNAMIC),
    *(Way(profile.name, profile=profile) for profile in _PROFILES),
    Way("64 x 96", size=Size(64, 96)),
    Way("112 x 64", size=Size(112, 64)),
    Way("64 x 48", size=Size(64, 48)),
)


def load(way: Way) -> CogVideoXModel:
    """Load the small model for a way."""
    return load_small_model(way.sampler, way.profile, cpu_threads=_THREADS)


def measure(way: Way, samples: list[Sample], exact: list[Frames] | None) -> tuple[str, list[Frames]]:
    """Generate and judge; returns the row of the table and the clips."""
    model = load(way)
    clip_of(model, "warm up", 0, steps=2, size=way.size)
    started = time.perf_counter()
    clips = [
        clip_of(model, sample.prompt, sample.seed, steps=way.steps, guidance=way.guidance, size=way.size)
        for sample in samples
    ]
    seconds = (time.perf_counter() - started) / len(samples)
    verdicts = [judge(clip, sample.scene) for clip, sample in zip(clips, samples, strict=True)]
    found = shares(samples, verdicts)
    cells = [f"{100 * share:.0f} %" for share in found.values()]
    pairs = zip(clips, exact or [], strict=False)
    near = [(psnr(clip, other), ssim(clip, other)) for clip, other in pairs if clip.shape == other.shape]
    nearness = np.mean(near, axis=0) if near else None
    cells += ["", ""] if nearness is None else [f"{nearness[0]:.1f}", f"{nearness[1]:.3f}"]
    cells.append(f"{seconds:.2f} s")
    if exact is None:
        moves = ", ".join(f"{motion} {100 * share:.0f} %" for motion, share in by_motion(samples, verdicts).items())
        print(f"Motions at the card's defaults: {moves}.\n")
        print(f"| way | {' | '.join(found)} | PSNR | SSIM | a clip |\n|{' --- |' * (len(cells) + 1)}")
    return f"| {way.name} | {' | '.join(cells)} |", clips


def measure_pictures(samples: list[Sample]) -> tuple[str, list[Frames]]:
    """The same for the model that begins with a picture; how near its first frames are to the pictures."""
    samples, model = [with_picture(sample) for sample in samples], load_small_model(pictures=True, cpu_threads=_THREADS)
    clips = [clip_of(model, sample.prompt, sample.seed, picture=sample.picture) for sample in samples]
    verdicts = [judge(clip, sample.scene) for clip, sample in zip(clips, samples, strict=True)]
    found = ", ".join(f"{trait} {100 * share:.0f} %" for trait, share in shares(samples, verdicts).items())
    moves = ", ".join(f"{motion} {100 * share:.0f} %" for motion, share in by_motion(samples, verdicts).items())
    near = np.mean(
        [psnr(clip[0], cast("Picture", sample.picture)) for clip, sample in zip(clips, samples, strict=True)]
    )
    return f"From a picture: {found}; first frames at {near:.1f} dB from it. {moves}.", clips


def psnr(frames: Frames, exact: Frames) -> float:
    """Peak signal-to-noise ratio in dB, at most 99."""
    error = float(np.mean((frames.astype(np.float32) - exact.astype(np.float32)) ** 2))
    return 99.0 if error == 0 else min(99.0, float(10 * np.log10(255**2 / error)))


def ssim(frames: Frames, exact: Frames) -> float:
    """Structural similarity: 1 where nothing differs."""
    one, other = (torch.from_numpy(clip).permute(0, 3, 1, 2).float() for clip in (frames, exact))
    found = structural_similarity_index_measure(one, other, data_range=255.0)
    return float(cast(torch.Tensor, found))


def negative_prompts(model: CogVideoXModel, clips: int) -> str:
    """How often a colour that a prompt leaves open comes out as one that the negative prompt names."""
    wordings = ("{color}", "A {color} circle.")
    again = np.zeros(len(wordings))
    tries = 0
    for seed in range(clips):
        prompt = UNNAMED.format(background=("white", "black", "green")[seed % 3])
        usual = look_at(clip_of(model, prompt, seed)).color
        if usual is None:
            continue
        tries += 1
        for index, wording in enumerate(wordings):
            negative = wording.format(color=usual)
            again[index] += look_at(clip_of(model, prompt, seed, negative_prompt=negative)).color == usual
    return (
        f"Of {tries} clips whose prompt names no colour, so many keep theirs when the negative prompt names it: "
        f"{again[0]:.0f} with the colour's name alone, {again[1]:.0f} with `A (colour) circle.`"
    )


def sheet(samples: list[Sample], clips: list[Frames], file: Path, *, rows: int = 12, scale: int = 2) -> None:
    """Write five frames each of some clips, with their prompts, as a PNG."""
    _, height, width, _ = clips[0].shape
    label = 16
    image = Image.new("RGB", (5 * (width * scale + 4) - 4, rows * (height * scale + label + 6)), "white")
    pen = ImageDraw.Draw(image)
    for row, (sample, clip) in enumerate(list(zip(samples, clips, strict=True))[:rows]):
        top = row * (height * scale + label + 6)
        pen.text((2, top + 2), sample.prompt, fill="black")
        for column, frame in enumerate(clip[:: (len(clip) - 1) // 4]):
            picture = Image.fromarray(frame).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
            image.paste(picture, (column * (width * scale + 4), top + label))
    image.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)  # flat colours: a third of the bytes


def main() -> None:
    """Try the ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=100, help="clips for each way")
    parser.add_argument("--pairs", type=float, default=0.0, help="how often a scene has two shapes, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", type=int, default=len(WAYS), help="so many of them, in their order")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--pictures", action="store_true", help="only the model that begins with a picture")
    wanted = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {wanted.clips} clips\n")
    samples = held_out_samples(wanted.clips, seed=wanted.seed, pairs=wanted.pairs)
    exact: list[Frames] | None = None
    if wanted.pictures:
        line, exact = measure_pictures(samples)
        print(line)
    for way in () if wanted.pictures else WAYS[: wanted.ways]:
        row, clips = measure(way, samples, exact)
        exact = exact or clips
        print(row, flush=True)
    if wanted.sheet and exact:
        sheet(samples, exact, wanted.sheet)
    if wanted.ways > 1 and not wanted.pictures:
        print(f"\n{negative_prompts(load(WAYS[0]), max(wanted.clips // 3, 1))}")


if __name__ == "__main__":
    main()
