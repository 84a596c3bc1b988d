"""Plays videos in notebooks, inline.

In IPython a result shows itself: the clients register a formatter for `VideoOutput`, which stays the contract's plain
message. `show` is for the middle of a cell, and for where nothing was registered.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Protocol, cast

from cogreel.download import Source, fetch
from cogreel.errors import DownloadError
from cogreel.retry import RetryPolicy
from cogreel.v1.video_pb2 import VideoOutput

# Firefox takes data URIs of 32 MB at most, other browsers more, and base64 makes four bytes of three. A video of six
# seconds at 720 × 480 has about 1 MB.
_MAX_EMBEDDED_BYTES = 20 * 1024 * 1024
_FETCH_TIMEOUT_S = 20.0
_MAX_WIDTH_PX = 720


@dataclass(frozen=True, slots=True)
class VideoView:
    """A result that a notebook plays, and that prints as one line elsewhere."""

    message: VideoOutput
    """The contract's message."""

    def __repr__(self) -> str:
        return f"<video: {_caption(self.message)}>"

    def _repr_html_(self) -> str:
        """A player that holds the video itself, so that it still plays when the URL has expired."""
        video = self.message
        caption = f"<figcaption>{escape(_caption(video))}<br><em>{escape(video.prompt)}</em></figcaption>"
        try:
            source = _source(video)
        except DownloadError as error:
            return f"<figure>The video could not be fetched: {escape(error.message)}{caption}</figure>"
        width = min(video.size.width or _MAX_WIDTH_PX, _MAX_WIDTH_PX)
        player = f'<video controls loop muted playsinline width="{width}" src="{escape(source)}"></video>'
        return f"<figure>{player}{caption}</figure>"


def show(video: VideoOutput) -> VideoView:
    """What `subscribe` or `result` returned, as something that a notebook plays inline.

    The video is fetched when it is drawn, and is kept in the notebook. One of more than 20 MiB is linked instead, and
    plays until its URL expires.
    """
    return VideoView(video)


class _HtmlFormatter(Protocol):
    def for_type(self, typ: type, func: Callable[[VideoOutput], str]) -> object: ...


class _DisplayFormatter(Protocol):
    formatters: dict[str, _HtmlFormatter]


class Shell(Protocol):
    """What is needed of IPython's shell."""

    @property
    def display_formatter(self) -> _DisplayFormatter: ...


def play_results(shell: Shell) -> None:
    """Let this shell play every `VideoOutput` that it displays."""
    html = shell.display_formatter.formatters["text/html"]
    html.for_type(VideoOutput, lambda video: VideoView(video)._repr_html_())


def play_results_in_ipython() -> None:
    """Do so where this process is an IPython shell or the kernel of a notebook; elsewhere, do nothing."""
    ipython = sys.modules.get("IPython")
    shell = cast("Shell | None", ipython.get_ipython()) if ipython is not None else None
    if shell is not None:
        play_results(shell)


def _source(video: VideoOutput) -> str:
    """What the player loads: a data URI, or the URL of a large video."""
    if video.video.file_size > _MAX_EMBEDDED_BYTES:
        return video.video.url
    with TemporaryDirectory(prefix="cogreel-") as folder:
        path = Path(folder) / "video.mp4"
        fetch(Source.of(video), path, overwrite=False, policy=RetryPolicy(_FETCH_TIMEOUT_S), stop=Event())
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:video/mp4;base64,{content}"


def _caption(video: VideoOutput) -> str:
    size = f"{video.size.width} × {video.size.height}"
    return f"{size}, {video.frames} frames at {video.fps} fps, seed {video.seed}"
