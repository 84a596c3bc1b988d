"""Files of callers: fitted to the video when they are sound, refused when they are not."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from inference.decoding import MAX_FRAME_PIXELS, UnreadableError, load_frames, load_picture
from inference.model import CancelledError
from tests.media import GREEN, RED, bomb, picture, video


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


def unwatched() -> None:
    """Goes on."""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_is_fitted_to_the_size_of_the_video(path: Path, kind: str) -> None:
    path.write_bytes(picture(RED, kind=kind))
    pixels = load_picture(path, 48, 80)
    assert pixels.shape == (80, 48, 3)
    assert np.abs(pixels.astype(int) - RED).max() < 12


def test_a_picture_is_cut_evenly_and_not_distorted(path: Path) -> None:
    wide = np.zeros((10, 90, 3), np.uint8)
    wide[:, 40:50] = 255
    Image.fromarray(wide).save(path, "PNG")
    assert load_picture(path, 10, 10).min() == 255


def test_a_photograph_stands_upright(path: Path) -> None:
    halves = np.zeros((40, 20, 3), np.uint8)
    halves[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(halves).save(path, "JPEG", exif=exif)
    pixels = load_picture(path, 20, 40)
    assert pixels[:15].mean() < 10 < 245 < pixels[25:].mean()  # noqa: PLR0133 - a chain reads best


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_any_kind_of_pixel_becomes_rgb(path: Path, mode: str) -> None:
    Image.new(mode, (8, 8)).save(path, "PNG")
    pixels = load_picture(path, 16, 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.max() == (255 if mode in {"RGBA", "LA"} else 0)  # what is transparent is white


@pytest.mark.parametrize(
    "content",
    [b"", b"x", picture()[:40], picture()[:-60], bomb(), bomb(6000), b"GIF89a" + bytes(20), b"RIFF\0\0\0\0WEBPVP8 "],
    ids=["empty", "text", "header", "truncated", "bomb", "lying", "gif", "webp"],
)
def test_a_picture_that_is_not_sound_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        load_picture(path, 16, 16)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO"])
def test_formats_that_are_not_taken_are_not_tried(path: Path, kind: str) -> None:
    path.write_bytes(picture(kind=kind))
    with pytest.raises(UnreadableError):
        load_picture(path, 16, 16)


def test_a_video_becomes_frames_of_the_size_of_the_next_one(path: Path) -> None:
    path.write_bytes(video(GREEN, frames=5))
    frames, more = load_frames(path, "video/mp4", 32, 48, most=10, check=unwatched)
    assert (frames.shape, more) == ((5, 48, 32, 3), False)
    assert np.abs(frames.astype(int) - GREEN).mean() < 12


def test_no_more_frames_are_decoded_than_are_wanted(path: Path) -> None:
    path.write_bytes(video(frames=9))
    frames, more = load_frames(path, "video/mp4", 32, 48, most=4, check=unwatched)
    assert (len(frames), more) == (4, True)


def test_decoding_stops_when_the_request_is_not_wanted_any_more(path: Path) -> None:
    def cancelled() -> None:
        raise CancelledError

    path.write_bytes(video())
    with pytest.raises(CancelledError):
        load_frames(path, "video/mp4", 16, 16, most=4, check=cancelled)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "video/mp4"),
        (picture(), "video/mp4"),
        (video()[:300], "video/mp4"),
        (video(), "video/webm"),
        (b"#EXTM3U\n/etc/passwd\n", "video/mp4"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video/mp4"),
    ],
    ids=["empty", "picture", "truncated", "other container", "playlist", "concat"],
)
def test_a_video_that_is_not_sound_is_refused(path: Path, content: bytes, content_type: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        load_frames(path, content_type, 16, 16, most=4, check=unwatched)


def test_a_video_with_frames_that_are_too_large_is_refused_unseen(path: Path) -> None:
    side = 16 * (int(MAX_FRAME_PIXELS**0.5) // 16 + 1)
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(side, side, "yuvj420p")))
        container.mux(stream.encode(None))
    path.write_bytes(content.getvalue())
    with pytest.raises(UnreadableError, match="pixels a frame"):
        load_frames(path, "video/mp4", 16, 16, most=4, check=unwatched)


def test_a_file_with_sound_alone_holds_no_video(path: Path) -> None:
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(content.getvalue())
    with pytest.raises(UnreadableError, match="holds no video"):
        load_frames(path, "video/mp4", 16, 16, most=4, check=unwatched)
