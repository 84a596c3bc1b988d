"""A checker that looks only at pixels: what colour and shape moves where in a clip, and whether a scene says so.

It knows nothing of models. Colours are told by the nearest of the palette, shapes by the overlap with each of
the four silhouettes, motions by the tracks of centre, area and angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from training.drawing import Floats, silhouette
from training.scenes import PALETTE, Motion, Scene, Shape

_CORNERS = {Shape.TRIANGLE: 3, Shape.SQUARE: 4, Shape.STAR: 5}
_ANGLES = 8
"""Positions that a silhouette is tried in, over the angle after which it looks the same."""

_SMALLEST = 0.006
"""A shape covers at least this share of the frame in most frames; less is a speck."""


@dataclass(frozen=True)
class Seen:
    """What is seen to move: None for colour and shape where nothing stands out from the background."""

    background: str
    color: str | None = None
    shape: Shape | None = None
    motion: Motion | None = None


@dataclass(frozen=True)
class Verdict:
    """Which of a scene's traits a clip shows; of two shapes, those that both have right."""

    background: bool
    color: bool
    shape: bool
    motion: bool

    @property
    def all(self) -> bool:
        """Whether everything is as the scene says."""
        return self.background and self.color and self.shape and self.motion


def judge(frames: npt.NDArray[np.uint8], scene: Scene) -> Verdict:
    """Compare a clip `(frames, height, width, 3)` with the scene that it should show."""
    # Two shapes stand side by side, the first to the left.
    halves = np.array_split(frames, len(scene.shapes), axis=2)
    seen = [look_at(half) for half in halves]
    pairs = list(zip(seen, scene.shapes, strict=True))
    return Verdict(
        background=all(look.background == scene.background for look in seen),
        color=all(look.color == wanted.color for look, wanted in pairs),
        shape=all(look.shape is wanted.shape for look, wanted in pairs),
        motion=all(look.motion is wanted.motion for look, wanted in pairs),
    )


def look_at(frames: npt.NDArray[np.uint8]) -> Seen:
    """Look at a clip `(frames, height, width, 3)` of one shape."""
    pixels = frames.astype(np.float32)
    named = _nearest(pixels)
    background = _most_common(np.concatenate([named[:, 0].ravel(), named[:, -1].ravel(), named[:, :, 0].ravel()]))
    color, value = _shape_color(pixels, named, background)
    if color is None or value is None:
        return Seen(background)
    cover = _cover(pixels, np.median(pixels[named == _NAMES.index(background)], axis=0), value)
    tracks = _track(cover)
    if tracks is None:
        return Seen(background, color)
    shape = _shape(cover, tracks)
    return Seen(background, color, shape, _motion(cover, tracks, shape))


_NAMES = list(PALETTE)
_COLORS = np.array(list(PALETTE.values()), np.float32)


def _nearest(pixels: Floats) -> npt.NDArray[np.intp]:
    """For each pixel, the index of the nearest named colour."""
    # |p - c|^2 without the term that is the same for all colours.
    nearest: npt.NDArray[np.intp] = np.argmin((_COLORS**2).sum(1) - 2 * pixels @ _COLORS.T, axis=-1)
    return nearest


def _most_common(named: npt.NDArray[np.intp]) -> str:
    return _NAMES[int(np.bincount(named, minlength=len(_NAMES)).argmax())]


def _shape_color(pixels: Floats, named: npt.NDArray[np.intp], background: str) -> tuple[str | None, Floats | None]:
    """The colour of what stands out, its name and its value, told from pixels whose neighbours have it too.

    A blurred edge goes through other colours on its way from one to the other, but is a pixel or two wide.
    """
    best: tuple[int, str | None, Floats | None] = (0, None, None)
    for index, name in enumerate(_NAMES):
        if name == background:
            continue
        same = named == index
        inside = same[:, 1:-1, 1:-1].copy()
        for rows, columns in ((slice(2, None), slice(1, -1)), (slice(0, -2), slice(1, -1))):
            inside &= same[:, rows, columns] & same[:, columns, rows]
        area = int(inside.sum())
        if area > best[0]:
            best = area, name, np.median(pixels[:, 1:-1, 1:-1][inside], axis=0)
    return (best[1], best[2]) if best[0] > _SMALLEST / 2 * named.size else (None, None)


def _cover(pixels: Floats, background: Floats, color: Floats) -> Floats:
    """How far each pixel is from the background's colour to the shape's: 0 to 1."""
    axis = color - background
    along = (pixels - background) @ axis / (axis @ axis)
    return np.where(along > 0.25, np.clip(along, 0, 1), 0).astype(np.float32)


@dataclass(frozen=True)
class _Tracks:
    """Centre in pixels and area in shares of the frame, by frame."""

    x: Floats
    y: Floats
    area: Floats


def _track(cover: Floats) -> _Tracks | None:
    _, height, width = cover.shape
    weight = cover.sum((1, 2))
    if np.median(weight) < _SMALLEST * height * width or weight.min() < 4:
        return None
    x = cover.sum(1) @ (np.arange(width, dtype=np.float32) + 0.5) / weight
    y = cover.sum(2) @ (np.arange(height, dtype=np.float32) + 0.5) / weight
    return _Tracks(x, y, weight / (height * width))


def _centred(cover: Floats, tracks: _Tracks, frame: int) -> tuple[Floats, Floats]:
    _, height, width = cover.shape
    x = np.arange(width, dtype=np.float32) + 0.5 - tracks.x[frame]
    y = np.arange(height, dtype=np.float32)[:, None] + 0.5 - tracks.y[frame]
    return x, y


@cache
def _area(shape: Shape) -> float:
    """The area of a silhouette of radius 1."""
    axis = np.arange(200, dtype=np.float32) - np.float32(99.5)
    return float(silhouette(shape, axis, axis[:, None], 50).sum()) / 50**2


def _shape(cover: Floats, tracks: _Tracks) -> Shape:
    """The silhouette that overlaps most, in whatever position, summed over some frames."""
    frames = np.linspace(1, len(cover) - 1, 6).round().astype(int)

    def overlap(shape: Shape, frame: int) -> float:
        seen = cover[frame]
        x, y = _centred(cover, tracks, frame)
        radius = float((seen.sum() / _area(shape)) ** 0.5)
        turn = 2 * np.pi / _CORNERS[shape] if shape in _CORNERS else 0.0
        angles = np.unique(np.arange(_ANGLES) * turn / _ANGLES)
        tried = [silhouette(shape, x, y, radius, float(angle)) for angle in angles]
        return max(float(np.minimum(seen, one).sum() / np.maximum(seen, one).sum()) for one in tried)

    return max(Shape, key=lambda shape: sum(overlap(shape, int(frame)) for frame in frames))


def _turned(cover: Floats, tracks: _Tracks, corners: int) -> float:
    """By how many degrees what has so many corners turns from the first frame to the last, clockwise.

    Told from the phase of the angular moment that repeats with the corners.
    """
    phases = []
    for frame in range(len(cover)):
        x, y = _centred(cover, tracks, frame)
        place = (x + 1j * y) / (tracks.area[frame] * cover[0].size) ** 0.5
        phases.append(np.angle((cover[frame] * place**corners).sum()))
    return float(np.degrees(np.unwrap(phases)[-1] - phases[0])) / corners


def _motion(cover: Floats, tracks: _Tracks, shape: Shape) -> Motion:
    _, height, width = cover.shape
    x, y = (path / min(width, height) for path in (tracks.x, tracks.y))
    ends = max(len(cover) // 6, 1)

    def change(path: Floats) -> float:
        return float(path[-ends:].mean() - path[:ends].mean())

    # A bounce comes back, twice: its turning points are further apart than its ends.
    if np.ptp(y) > 0.12 and _swings(y, 0.4 * float(np.ptp(y))) >= 3:
        return Motion.BOUNCING
    dx, dy = change(x), change(y)
    if max(abs(dx), abs(dy)) > 0.09:
        if abs(dx) > abs(dy):
            return Motion.RIGHT if dx > 0 else Motion.LEFT
        return Motion.DOWN if dy > 0 else Motion.UP
    growth = change(np.log(tracks.area))
    if abs(growth) > np.log(1.6):
        return Motion.GROWING if growth > 0 else Motion.SHRINKING
    if shape in _CORNERS and abs(_turned(cover, tracks, _CORNERS[shape])) > 70:
        return Motion.SPINNING
    return Motion.STILL


def _swings(path: Floats, least: float) -> int:
    """Count the moves between turning points, of those that are at least so far."""
    low = high = float(path[0])
    heading = swings = 0
    for value in map(float, path[1:]):
        low, high = min(low, value), max(high, value)
        if heading <= 0 and value - low >= least:
            heading, high, swings = 1, value, swings + 1
        elif heading >= 0 and high - value >= least:
            heading, low, swings = -1, value, swings + 1
    return swings
