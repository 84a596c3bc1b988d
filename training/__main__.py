"""`python -m training`: train the small model from nothing and write it in diffusers format."""

from __future__ import annotations

import argparse
import copy
import json
import sys
from enum import StrEnum
from pathlib import Path

import diffusers
import torch
import transformers

from inference.quiet_libraries import quieten_libraries
from training.autoencoder import new_autoencoder, train_autoencoder
from training.latents import encode_beginnings, encode_centred, encode_first_frames, encode_scenes, share_that_survives
from training.pictures import picture_pipeline, train_on_pictures
from training.siblings import train_on_siblings
from training.text_encoder import new_text_encoder, train_text_encoder
from training.tokenizer import new_tokenizer
from training.transformer import Pipeline, new_pipeline, train_transformer

SURVIVE = 0.92
"""The share of drawn clips that the checker must still read after a round trip through the autoencoder."""


class Stage(StrEnum):
    """The stages of the training, in their order."""

    ENCODERS = "encoders"
    """The autoencoder, and the text encoder."""
    TRANSFORMER = "transformer"
    SIBLINGS = "siblings"
    PICTURES = "pictures"


def main(arguments: list[str] | None = None) -> None:
    """Train what is not trained yet, then save the model."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="checkpoints; a run that stopped goes on from them")
    parser.add_argument("--output", type=Path, required=True, help="where the model goes")
    parser.add_argument("--pictures-output", type=Path, help="where its variant for start pictures goes, if wanted")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--autoencoder-steps", type=int, default=5500)
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--text-encoder-steps", type=int, default=2500)
    parser.add_argument("--transformer-steps", type=int, default=8000)
    parser.add_argument("--siblings-steps", type=int, default=10000)
    parser.add_argument("--pictures-steps", type=int, default=2500)
    parser.add_argument(
        "--first",
        type=Stage,
        choices=list(Stage),
        default=Stage.ENCODERS,
        help="the stage to begin with; what earlier ones make is taken from the model in --output",
    )
    wanted = parser.parse_args(arguments)
    quieten_libraries()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    stages = list(Stage)[list(Stage).index(wanted.first) :]

    pipeline = _encoders(wanted) if Stage.ENCODERS in stages else _loaded(wanted)
    data = encode_scenes(pipeline.vae, count=wanted.scenes, seed=wanted.seed, cache=wanted.folder / "latents.pt")
    run = {"seed": wanted.seed}
    if Stage.TRANSFORMER in stages:
        torch.manual_seed(wanted.seed)
        pipeline = new_pipeline(pipeline.vae, pipeline.text_encoder, pipeline.tokenizer)
        pipeline.to(wanted.device)
        checkpoint = wanted.folder / "transformer.pt"
        train_transformer(pipeline, data, steps=wanted.transformer_steps, checkpoint=checkpoint, **run)
    if Stage.SIBLINGS in stages:
        scenes, latents = encode_centred(pipeline.vae, most=wanted.scenes, cache=wanted.folder / "centred.pt")
        checkpoint = wanted.folder / "siblings.pt"
        train_on_siblings(pipeline, scenes, latents, data, steps=wanted.siblings_steps, checkpoint=checkpoint, **run)
        _save(pipeline, wanted.output)
    if wanted.pictures_output:
        count, cache = wanted.scenes // 2, wanted.folder / "beginnings.pt"
        data += encode_beginnings(pipeline.vae, count=count, seed=wanted.seed, cache=cache)
        pictures = encode_first_frames(pipeline.vae, data)
        pipeline = picture_pipeline(pipeline)
        checkpoint = wanted.folder / "pictures.pt"
        train_on_pictures(pipeline, data, pictures, steps=wanted.pictures_steps, checkpoint=checkpoint, **run)
        _save(pipeline, wanted.pictures_output)


def _loaded(wanted: argparse.Namespace) -> Pipeline:
    pipeline = diffusers.CogVideoXPipeline.from_pretrained(wanted.output, dtype=torch.float32)  # type: ignore[no-untyped-call]
    pipeline.to(wanted.device)
    return pipeline


def _save(pipeline: Pipeline, output: Path) -> None:
    """Write a copy of the model in half precision; training may go on with what is in memory."""
    halved = copy.deepcopy(pipeline).to("cpu", torch.float16)
    halved.save_pretrained(output, safe_serialization=True)
    _forget_origin(output)
    print(f"the model is in {output}", flush=True)


def _forget_origin(directory: Path) -> None:
    """Take out of the model's files where its parts were loaded from: a path of this machine."""
    for path in directory.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _encoders(wanted: argparse.Namespace) -> Pipeline:
    """Train the autoencoder and the text encoder, and put an untrained transformer between them."""
    vae = _autoencoder(wanted)
    text_encoder, tokenizer = _text_encoder(wanted)
    return new_pipeline(vae, text_encoder, tokenizer)


def _autoencoder(wanted: argparse.Namespace) -> diffusers.AutoencoderKLCogVideoX:
    torch.manual_seed(wanted.seed)
    vae = new_autoencoder()
    vae.to(wanted.device)  # type: ignore[attr-defined]
    checkpoint = wanted.folder / "autoencoder.pt"
    train_autoencoder(vae, steps=wanted.autoencoder_steps, seed=wanted.seed, checkpoint=checkpoint)
    survived = share_that_survives(vae, clips=200, seed=wanted.seed)
    print(f"autoencoder: the checker reads {survived:.1%} of drawn clips after a round trip")
    if survived < SURVIVE:
        # Nothing that follows could be better than this.
        sys.exit(f"it should read {SURVIVE:.0%}: train the autoencoder for longer")
    return vae


def _text_encoder(wanted: argparse.Namespace) -> tuple[transformers.T5EncoderModel, transformers.T5Tokenizer]:
    torch.manual_seed(wanted.seed)
    tokenizer = new_tokenizer()
    text_encoder = new_text_encoder(len(tokenizer)).to(wanted.device)
    checkpoint = wanted.folder / "text_encoder.pt"
    read = train_text_encoder(
        text_encoder, tokenizer, steps=wanted.text_encoder_steps, seed=wanted.seed, checkpoint=checkpoint
    )
    print(f"text encoder: it reads {read:.1%} of the traits in captions that it never saw", flush=True)
    return text_encoder, tokenizer


if __name__ == "__main__":
    main()
