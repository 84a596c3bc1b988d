"""MP4 files: what a player is told, what colours it shows, and that the bytes never change."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference.contact_sheet import contact_sheet
from inference.model import CancelledError, Clip, Frames, Stage
from inference.mp4 import VideoProperties, decode_frames, encode_mp4, probe
from tests.inference.progress import RecordingProgress

_REPOSITORY = Path(__file__).parents[2]

_BT709_LIMITED = 1  # FFmpeg's number for matrix, primaries and curve of BT.709, and for limited range


def _sweep(count: int, width: int = 96, height: int = 64) -> Frames:
    """A soft gradient that slides and changes its hue; shape (count, height, width, 3)."""
    time = np.arange(count)[:, None, None]
    y, x = np.mgrid[:height, :width][:, None]
    channels = [127 + 100 * np.sin(x / 17 + time / 9 + phase) * np.cos(y / 23) for phase in (0, 2, 4)]
    return np.stack(channels, -1).round().astype(np.uint8)


def _patches(count: int = 6, cell: int = 32) -> tuple[Frames, NDArray[np.uint8]]:
    """Squares of saturated and of quiet colours, and those colours, shape (4, 6, 3)."""
    primaries = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    quiet = np.random.default_rng(7).integers(30, 226, (16, 3))
    colours = np.concatenate((np.array(primaries), quiet)).astype(np.uint8).reshape(4, 6, 3)
    picture = colours.repeat(cell, axis=0).repeat(cell, axis=1)
    return picture[None].repeat(count, axis=0), colours


def _encode(
    frames: Frames,
    path: Path,
    *,
    fps: int = 16,
    size: tuple[int, int] | None = None,
    progress: RecordingProgress | None = None,
) -> Path:
    """Encode at `size`, width first, or at the size that the frames have."""
    _, height, width, _ = frames.shape
    width, height = size or (width, height)
    encode_mp4(Clip.of(frames), path, fps=fps, width=width, height=height, progress=progress or RecordingProgress())
    return path


def test_98_frames_at_16_a_second_last_6_125_s(tmp_path: Path) -> None:
    video = _encode(_sweep(98), tmp_path / "sweep.mp4")
    assert probe(video) == VideoProperties(
        frames=98, width=96, height=64, fps=16.0, duration_s=6.125, codec="h264", pixel_format="yuv420p"
    )
    assert sum(1 for _ in decode_frames(video)) == 98


def test_the_pictures_that_went_in_come_out(tmp_path: Path) -> None:
    frames = _sweep(20)
    video = _encode(frames, tmp_path / "sweep.mp4")
    for given, shown in zip(frames, decode_frames(video), strict=True):
        assert np.abs(given.astype(int) - shown).mean() < 2


def test_the_same_frames_give_the_same_bytes_in_another_process_on_one_core(tmp_path: Path) -> None:
    frames = _sweep(98)
    first = _encode(frames, tmp_path / "first.mp4").read_bytes()
    assert _encode(frames, tmp_path / "second.mp4").read_bytes() == first

    np.save(tmp_path / "frames.npy", frames)
    code = (
        "import os, sys, numpy, pathlib\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from tests.inference.test_mp4 import _encode\n"
        "_encode(numpy.load(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "frames.npy"), str(tmp_path / "third.mp4")]
    subprocess.run(command, check=True, cwd=_REPOSITORY, timeout=50)
    third = (tmp_path / "third.mp4").read_bytes()
    assert hashlib.sha256(third).digest() == hashlib.sha256(first).digest()


def test_players_are_told_bt709_in_limited_range(tmp_path: Path) -> None:
    video = _encode(_sweep(3), tmp_path / "sweep.mp4")
    with av.open(video) as container:
        context = container.streams.video[0].codec_context
        frame = next(container.decode(video=0))
        assert context.profile == "High"
        for told in (context, frame):
            tags = (told.colorspace, told.color_primaries, told.color_trc, told.color_range)
            assert tags == (_BT709_LIMITED,) * 4
    assert b"colrnclx" in video.read_bytes()


@pytest.mark.parametrize("scale", [1, 2])
def test_colours_follow_the_bt709_matrix(tmp_path: Path, scale: int) -> None:
    frames, colours = _patches()
    video = _encode(frames, tmp_path / "patches.mp4", size=(192 * scale, 128 * scale))
    # Read the file's own planes, so that a wrong matrix on both ways can't cancel itself out.
    with av.open(video) as container:
        planes = next(container.decode(video=0)).to_ndarray(format="yuv444p").astype(float)
    centre = 32 * scale
    shown = planes[:, centre // 2 :: centre, centre // 2 :: centre]
    # ITU-R BT.709-6, items 3.2 to 3.4, at 8 bits.
    red, green, blue = (colours[..., channel] / 255 for channel in range(3))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748)
    assert np.abs(shown - np.stack(expected)).max() < 3


def test_colours_come_back_within_a_few_levels(tmp_path: Path) -> None:
    frames, colours = _patches()
    shown = next(decode_frames(_encode(frames, tmp_path / "patches.mp4")))
    assert np.abs(shown[16::32, 16::32].astype(int) - colours).max() <= 5


def test_frames_of_another_size_are_scaled(tmp_path: Path) -> None:
    frames = _sweep(4, width=96, height=64)
    video = _encode(frames, tmp_path / "large.mp4", fps=8, size=(240, 160))
    properties = probe(video)
    assert (properties.width, properties.height, properties.duration_s) == (240, 160, 0.5)
    scaled = np.asarray(Image.fromarray(frames[0]).resize((240, 160), Image.Resampling.BICUBIC))
    assert np.abs(next(decode_frames(video)).astype(int) - scaled).mean() < 2


def test_playing_can_start_before_the_file_is_complete(tmp_path: Path) -> None:
    content = _encode(_sweep(10), tmp_path / "sweep.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_frames_that_come_in_chunks_give_the_same_bytes(tmp_path: Path) -> None:
    frames = _sweep(20)
    clip = Clip(20, 96, 64, (chunk for chunk in np.split(frames, [9, 17])))
    encode_mp4(clip, tmp_path / "chunks.mp4", fps=16, width=96, height=64, progress=RecordingProgress())
    assert (tmp_path / "chunks.mp4").read_bytes() == _encode(frames, tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize("shape", [(0, 32, 32, 3), (32, 32, 3), (2, 32, 32, 4)])
def test_what_is_no_clip_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not a clip"):
        Clip.of(np.zeros(shape, np.uint8))


def test_progress_grows_to_the_last_frame(tmp_path: Path) -> None:
    progress = RecordingProgress()
    _encode(_sweep(20), tmp_path / "sweep.mp4", progress=progress)
    assert progress.steps == [(Stage.ENCODE, frame) for frame in (8, 16, 20)]


def test_cancellation_leaves_nothing_new_behind(tmp_path: Path) -> None:
    earlier = tmp_path / "video.mp4"
    earlier.write_bytes(b"an earlier video")
    progress = RecordingProgress(cancel_at=(Stage.ENCODE, 16))
    with pytest.raises(CancelledError):
        _encode(_sweep(60), earlier, progress=progress)
    assert progress.steps == [(Stage.ENCODE, 8), (Stage.ENCODE, 16)]
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_bytes() == b"an earlier video"


@pytest.mark.parametrize(("width", "height", "fps"), [(95, 64, 16), (96, 63, 16), (0, 64, 16), (96, 64, 0)])
def test_odd_sizes_and_no_rate_are_refused(tmp_path: Path, width: int, height: int, fps: int) -> None:
    with pytest.raises(ValueError, match=r"even sides|fps"):
        _encode(_sweep(1), tmp_path / "v.mp4", fps=fps, size=(width, height))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        _encode(_sweep(1), tmp_path / "missing" / "v.mp4")


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    with pytest.raises(av.error.InvalidDataError):
        probe(text)


def test_a_contact_sheet_shows_frames_from_the_first_to_the_last(tmp_path: Path) -> None:
    greys = np.linspace(40, 200, 24).astype(np.uint8)
    frames = np.broadcast_to(greys[:, None, None, None], (24, 64, 96, 3)).copy()
    video = _encode(frames, tmp_path / "greys.mp4")
    contact_sheet(video, tmp_path / "sheet.png", columns=4, rows=3)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 64 + 2 * 4, 4 * 96 + 3 * 4, 3)
    cells = sheet[32::68, 48::100, 0].flatten().astype(int)
    expected = greys[np.linspace(0, 23, 12).round().astype(int)]
    assert np.abs(cells - expected).max() <= 3


def test_a_short_video_leaves_cells_empty(tmp_path: Path) -> None:
    frames = np.full((2, 64, 96, 3), 200, np.uint8)
    contact_sheet(_encode(frames, tmp_path / "short.mp4"), tmp_path / "sheet.png", columns=2, rows=2)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet[32, [48, 148], 0].min() > 190
    assert sheet[100].max() == 0
