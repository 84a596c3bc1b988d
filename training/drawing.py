"""Scenes as pixels: antialiased shapes, drawn from their signed distances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.scenes import ALONG, FRAMES, PALETTE, Motion, MovingShape, Scene, Shape

Floats = npt.NDArray[np.float32]

_BOUNCES = 2
_TURNS = 0.375
"""Turns of a spinning shape in a clip: 8 degrees a frame, too few for a square or a star to seem to stand."""


class Clip(NamedTuple):
    """A drawn scene: pixels `(frames, height, width, 3)` in 0 to 1, and how far shapes cover each pixel."""

    pixels: Floats
    cover: Floats
    """`(frames, height, width)` in 0 to 1."""


def draw_clip(scene: Scene, width: int, height: int, frames: int = FRAMES) -> Clip:
    """Draw `frames` frames of the scene; the motion takes as long however many there are."""
    pixels = np.broadcast_to(_color(scene.background), (frames, height, width, 3)).copy()
    cover = np.zeros((frames, height, width), np.float32)
    for place, shape in enumerate(scene.shapes):
        # Two shapes share the frame: each has a half of it.
        middle = width * (0.5 if len(scene.shapes) == 1 else 0.25 + 0.5 * place)
        room = width / len(scene.shapes)
        drawn = _cover(shape, middle, room, pixels.shape)
        pixels += drawn[..., None] * (_color(shape.color) - pixels)
        cover = np.maximum(cover, drawn)
    return Clip(pixels, cover)


def silhouette(shape: Shape, x: Floats, y: Floats, radius: float | Floats, angle: float | Floats = 0.0) -> Floats:
    """How far a shape covers the pixels at (`x`, `y`) from its centre: 1 inside, 0 outside, between at its edge.

    `radius` is half its extent in pixels; `angle` turns it clockwise, in radians. The four shapes of one radius
    have about the same area.
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    distance = _DISTANCES[shape](x * cosine + y * sine, y * cosine - x * sine, radius)
    covered: Floats = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    return covered


def _circle(x: Floats, y: Floats, radius: float | Floats) -> Floats:
    distance: Floats = np.hypot(x, y).astype(np.float32) - radius
    return distance


def _square(x: Floats, y: Floats, radius: float | Floats) -> Floats:
    distance: Floats = np.maximum(np.abs(x), np.abs(y)) - radius * np.float32(0.89)
    return distance


def _triangle(x: Floats, y: Floats, radius: float | Floats) -> Floats:
    slanted = np.abs(x) * np.float32(3**0.5 / 2) - y * np.float32(0.5)
    distance: Floats = np.maximum(slanted, y) - radius * np.float32(0.76)
    return distance


def _star(x: Floats, y: Floats, radius: float | Floats) -> Floats:
    """Five points: each tenth of the turn is the same straight edge from a tip to a notch, mirrored."""
    tenth = np.pi / 5
    turned = np.abs((np.arctan2(x, -y) + tenth) % (2 * tenth) - tenth)
    from_center = np.hypot(x, y)
    tip = 1.38
    notch = 0.5 * tip
    edge = np.array([notch * np.cos(tenth) - tip, notch * np.sin(tenth)])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    distance: Floats = from_center * (
        np.cos(turned) * np.float32(normal[0]) + np.sin(turned) * np.float32(normal[1])
    ) - radius * np.float32(tip * normal[0])
    return distance


_DISTANCES = {Shape.CIRCLE: _circle, Shape.SQUARE: _square, Shape.TRIANGLE: _triangle, Shape.STAR: _star}


def _cover(shape: MovingShape, middle: float, room: float, extent: tuple[int, ...]) -> Floats:
    frames, height, width, _ = extent
    time = np.linspace(0, 1, frames, dtype=np.float32)[:, None, None]
    radius: float | Floats = shape.size.radius * min(room, height, width)
    widest = radius
    if shape.motion in {Motion.GROWING, Motion.SHRINKING}:
        least, most = _scales(shape)
        grown = time if shape.motion is Motion.GROWING else 1 - time
        widest = radius * most
        radius = radius * (least + (most - least) * grown)
    angle = 2 * np.pi * _TURNS * time if shape.motion is Motion.SPINNING else 0.0

    # Paths end where the shape would touch the edge of its part of the frame.
    reach_x, reach_y = (max(side / 2 - 1.3 * float(widest), 0.0) for side in (room, height))
    along = ALONG.get(shape.motion, (0, 0))
    way = time / 2 if shape.begins_there else time - 0.5
    path_x = along[0] * _travel(reach_x) * way
    path_y = along[1] * _travel(reach_y) * way
    if shape.motion is Motion.BOUNCING:
        turned = np.pi * _BOUNCES * time
        # What begins half-way goes up first, and then below where it began.
        height_now = np.sin(2 * turned) / 2 if shape.begins_there else np.abs(np.sin(turned)) - 0.5
        path_y = -_travel(reach_y) * height_now
    free_x = reach_x - _travel(reach_x) / 2 * abs(along[0])
    free_y = reach_y - _travel(reach_y) / 2 * (shape.motion in {Motion.UP, Motion.DOWN, Motion.BOUNCING})
    x = np.arange(width, dtype=np.float32) + 0.5 - (middle + shape.offset[0] * free_x + path_x)
    y = np.arange(height, dtype=np.float32)[:, None] + 0.5 - (height / 2 + shape.offset[1] * free_y + path_y)
    return silhouette(shape.shape, x, y, radius, angle)


def _scales(shape: MovingShape) -> tuple[float, float]:
    """The least and the greatest extent of what grows or shrinks, in that of a shape that does not."""
    if not shape.begins_there:
        return 0.5, 1.2
    return (1.0, 1.6) if shape.motion is Motion.GROWING else (0.5, 1.0)


def _travel(reach: float) -> float:
    return 1.7 * reach


def _color(name: str) -> Floats:
    return np.asarray(PALETTE[name], np.float32) / np.float32(255)
