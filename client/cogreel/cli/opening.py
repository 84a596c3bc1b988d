"""`cogreel open`: fetches a video once, and plays it where there is a display."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cogreel.cli.request_id import RequestId
from cogreel.cli.saving import check_output, save
from cogreel.cli.session import Session, pass_session

if TYPE_CHECKING:
    from cogreel.v1.video_pb2 import VideoOutput


@click.command("open")
@click.argument("request_id", type=RequestId("COMPLETED"))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to put the video. Left out, it goes into a cache, which may be deleted at any time.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--print", "only_print", is_flag=True, help="Fetch the video and print its path, and do not play it.")
@pass_session
def open_video(session: Session, request_id: str, *, output: Path | None, force: bool, only_print: bool) -> None:
    """Play the video of a completed request.

    Its path is printed, and this desktop's player opens it; without a display or in a pipe, the path is all. What was
    fetched before is not fetched again.

    \b
    Examples:
      cogreel open 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d
      mpv --loop "$(cogreel open 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d --print)"
    """
    with session.connect() as client:
        video = client.result(request_id)
        path = output or _cached(request_id)
        if not _holds(path, video):
            check_output(path, force=force or output is None)
            save(client, request_id, video, path, force=force or output is None)
    click.echo(path)
    if not only_print and sys.stdout.isatty() and _has_display():
        click.launch(str(path))


def _cached(request_id: str) -> Path:
    from platformdirs import user_cache_path  # noqa: PLC0415 - loaded where it is needed

    return user_cache_path("cogreel", appauthor=False, ensure_exists=True) / f"{request_id}.mp4"


def _holds(path: Path, video: VideoOutput) -> bool:
    """Whether the file is this video already."""
    if not (video.sha256 and path.is_file() and path.stat().st_size == video.video.file_size):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == video.sha256


def _has_display() -> bool:
    """Whether there is a desktop here that could play something."""
    if "SSH_CONNECTION" in os.environ and "DISPLAY" not in os.environ:
        return False
    if sys.platform in {"darwin", "win32"}:
        return True
    has_screen = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return has_screen and shutil.which("xdg-open") is not None
