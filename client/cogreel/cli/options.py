"""The options that say what to make, for `generate` and `submit`. Their names are those of `CogReel.submit`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cogreel.cli.reading import check_readable

if TYPE_CHECKING:
    from cogreel.submission import TextToVideo


def video_size(text: str) -> str | tuple[int, int]:
    """`720x480` as `(720, 480)`, or the name of a preset.

    Raises:
        click.BadParameter: it is neither.
    """
    from cogreel.submission import VIDEO_SIZE_PRESETS  # noqa: PLC0415 - it needs the contract's messages

    sides = re.fullmatch(r"(\d+)[xX×](\d+)", text)
    if sides:
        return int(sides[1]), int(sides[2])
    if text not in VIDEO_SIZE_PRESETS:
        raise click.BadParameter(f"{text} is neither WIDTHxHEIGHT nor one of {', '.join(VIDEO_SIZE_PRESETS)}.")
    return text


def lora(text: str) -> list[dict[str, object]]:
    """`PATH|URL|ID`, perhaps with `@SCALE`, as the option `loras` of `CogReel.submit`."""
    scaled = re.fullmatch(r"(.+)@(-?\d+(?:\.\d+)?)", text)
    path = scaled[1] if scaled else text
    named: dict[str, object] = {"path": Path(path) if Path(path).is_file() else path}
    return [named | {"scale": float(scaled[2])} if scaled else named]


def check_options(options: TextToVideo) -> None:
    """Refuse what can be seen to be wrong before there is a connection.

    Raises:
        click.UsageError: options contradict each other, or a file cannot be read.
    """
    from cogreel.input_files import is_url  # noqa: PLC0415 - it needs the contract's messages

    image, video = options.get("image"), options.get("video")
    if image is not None and video is not None:
        raise click.UsageError("--image and --video exclude each other.")
    if options.get("strength") is not None and video is None:
        raise click.UsageError("--strength needs --video.")
    for source in (image, video):
        if isinstance(source, str) and not is_url(source):
            check_readable(source)


def submission_parameters() -> list[click.Parameter]:
    """The prompt and all options, in the order of the help page."""
    return [
        click.Argument(["prompt"]),
        click.Option(
            ["--size", "video_size"],
            type=video_size,
            metavar="WIDTHxHEIGHT|PRESET",
            help="Size in pixels, such as 720x480, or square_hd, square, portrait_4_3, portrait_16_9, landscape_4_3, "
            "landscape_16_9.",
        ),
        click.Option(["--steps", "num_inference_steps"], type=int, help="Number of denoising steps, 1 to 50."),
        click.Option(["--seed"], type=int, help="The same seed and options give the same video."),
        click.Option(["--guidance", "guidance_scale"], type=float, help="How closely to follow the prompt, 0 to 20."),
        click.Option(["--negative", "negative_prompt"], metavar="TEXT", help="What the video should not show."),
        click.Option(
            ["--rife/--no-rife", "use_rife"], default=None, help="Whether to double the frames by interpolation."
        ),
        click.Option(["--fps", "export_fps"], type=int, help="Frames shown a second, 4 to 32."),
        click.Option(["--image"], metavar="PATH|URL", help="The picture that the video begins with."),
        click.Option(["--video"], metavar="PATH|URL", help="The video that it is made from."),
        click.Option(
            ["--lora", "loras"],
            type=lora,
            metavar="PATH|URL|ID[@SCALE]",
            help="A LoRA for this request: a safetensors file, or one on the model hub, such as owner/name@0.8.",
        ),
        click.Option(["--strength"], type=float, help="How far to move away from --video, 0.05 to 1."),
        click.Option(["--endpoint"], metavar="NAME", help="The model, such as fal-ai/cogvideox-5b."),
        click.Option(
            ["--priority"], type=click.Choice(["normal", "low"]), help="low waits behind every normal request."
        ),
        click.Option(
            ["--webhook-url"],
            metavar="URL",
            help="To be told the outcome by a signed HTTP POST.",
        ),
        click.Option(
            ["--start-timeout", "start_timeout_s"],
            type=float,
            metavar="SECONDS",
            help="Fail the request if it has not begun within this time.",
        ),
        click.Option(["--max-attempts"], type=int, help="How often to try when a worker dies, 1 to 10."),
        click.Option(
            ["--lifetime", "object_lifetime_s"],
            type=float,
            metavar="SECONDS",
            help="How long the request and its video are kept after its end.",
        ),
        click.Option(
            ["--idempotency-key"], metavar="KEY", help="Submitting again with the same key finds the same request."
        ),
    ]
