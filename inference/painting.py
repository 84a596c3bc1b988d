"""Butterflies over a meadow of colour: the pictures of the simulated device.

Every frame is a function of prompt, seed, size and its number, drawn with numpy and Pillow only.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAINTER_VERSION = "butterflies-1"
"""Changes whenever the same input would be painted differently."""

_CANVAS_SIDE = 360  # pixels of the shorter side, at most; larger frames are enlarged from there, for speed
_SUPERSAMPLING = 2  # shapes are drawn this much larger and averaged down, for smooth edges
_BUTTERFLIES = 7
_MARK = "simulated"

Color = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Butterfly:
    """A path of two sines a coordinate, in units of the frame; size in units of its shorter side."""

    center: Point
    reach: Point
    turns: Point  # of each coordinate in a whole clip
    phases: Point
    size: float
    flaps: float  # wing beats in a whole clip
    wings: Color
    spots: Color


@dataclass(frozen=True, slots=True)
class _Scene:
    sky: tuple[float, float]  # hue at the top and at the bottom
    drift: float  # how far the hues move in a whole clip
    butterflies: tuple[_Butterfly, ...]


def paint(prompt: str, seed: int, *, frames: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Paint a clip frame by frame, each of shape (height, width, 3), RGB.

    The same arguments give the same bytes. The frames bear the word "simulated" and the prompt's first
    words, so that nobody takes them for a model's.
    """
    scene = _compose(prompt, seed)
    shrink = min(1.0, _CANVAS_SIDE / min(width, height))
    canvas = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    caption = _Caption(prompt, width, height)
    for number in range(frames):
        picture = _draw(scene, number / frames, canvas)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        caption.write_on(picture)
        yield np.asarray(picture)


def _compose(prompt: str, seed: int) -> _Scene:
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest))

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    hue = between(0, 1)
    butterflies = []
    for rank in range(_BUTTERFLIES):
        wings = (hue + 0.5 + between(-0.2, 0.2)) % 1  # against the sky's colour, to stand out
        butterflies.append(
            _Butterfly(
                center=(between(0.2, 0.8), between(0.2, 0.75)),
                reach=(between(0.1, 0.3), between(0.08, 0.2)),
                turns=(between(0.4, 1.2), between(0.6, 1.6)),
                phases=(between(0, 1), between(0, 1)),
                size=0.07 + 0.018 * rank,  # the nearest are drawn last
                flaps=between(8, 13),
                wings=_rgb(wings, 0.75, 0.95),
                spots=_rgb(wings + 0.12, 0.35, 1.0),
            )
        )
    return _Scene(sky=(hue, hue + between(0.1, 0.25)), drift=between(0.05, 0.15), butterflies=tuple(butterflies))


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw(scene: _Scene, time: float, size: tuple[int, int]) -> Image.Image:
    """Draw the scene at `time`, from 0 for the first frame towards 1 for the end of the clip."""
    width, height = size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING
    shift = scene.drift * time
    # Four colours, one a corner; enlarging blends them to a gradient.
    corners = Image.new("RGB", (2, 2))
    corners.putpixel((0, 0), _rgb(scene.sky[0] + shift, 0.45, 0.95))
    corners.putpixel((1, 0), _rgb(scene.sky[0] - shift, 0.30, 1.0))
    corners.putpixel((0, 1), _rgb(scene.sky[1] + shift, 0.60, 0.70))
    corners.putpixel((1, 1), _rgb(scene.sky[1] - shift, 0.65, 0.55))
    picture = corners.resize((width, height), Image.Resampling.BICUBIC)
    pencil = ImageDraw.Draw(picture)
    for butterfly in scene.butterflies:
        _draw_butterfly(pencil, butterfly, time, width, height)
    return picture.reduce(_SUPERSAMPLING)


def _draw_butterfly(pencil: ImageDraw.ImageDraw, butterfly: _Butterfly, time: float, width: int, height: int) -> None:
    angles = [2 * math.pi * (n * time + p) for n, p in zip(butterfly.turns, butterfly.phases, strict=True)]
    x = width * (butterfly.center[0] + butterfly.reach[0] * math.sin(angles[0]))
    y = height * (butterfly.center[1] + butterfly.reach[1] * math.sin(angles[1]))
    tilt = 0.6 * math.cos(angles[0])  # leaning into the direction of flight
    span = butterfly.size * min(width, height)
    open_wings = 0.25 + 0.75 * abs(math.cos(math.pi * butterfly.flaps * time + angles[1]))

    def place(across: float, along: float) -> Point:
        """Turn the butterfly's own coordinates, in wing spans with the head at -1, into the picture's."""
        return (
            x + span * (across * math.cos(tilt) - along * math.sin(tilt)),
            y + span * (across * math.sin(tilt) + along * math.cos(tilt)),
        )

    for side in (-open_wings, open_wings):
        pencil.polygon([place(side * across, along) for across, along in _WING], fill=butterfly.wings)
        pencil.polygon(
            [place(side * (0.2 + 0.6 * across), 0.6 * along) for across, along in _WING], fill=butterfly.spots
        )
    thickness = max(1, round(span * 0.12))
    pencil.line([place(0, -0.55), place(0, 0.5)], fill=(40, 30, 40), width=thickness)
    for side in (-0.25, 0.25):
        pencil.line([place(0, -0.5), place(side, -0.9)], fill=(40, 30, 40), width=max(1, thickness // 3))


def _wing_outline() -> tuple[Point, ...]:
    """Trace the right wing, from head to tail: a large petal forwards and a smaller one backwards."""
    outline = []
    for degrees in range(-88, 89, 4):
        forward = max(0.0, math.cos(math.radians(2.0 * (degrees + 38)))) ** 0.5
        backward = 0.75 * max(0.0, math.cos(math.radians(2.2 * (degrees - 45)))) ** 0.5
        radius = max(forward, backward, 0.1)
        direction = math.radians(degrees)
        outline.append((radius * math.cos(direction), radius * math.sin(direction)))
    return tuple(outline)


_WING = _wing_outline()


class _Caption:
    """Small text at the bottom left, drawn once and stamped on every frame."""

    def __init__(self, prompt: str, width: int, height: int) -> None:
        size = max(8, min(width, height) // 26)
        font = ImageFont.load_default(size)
        margin = size // 2
        text = _fitting(font, prompt, width - 2 * margin)
        self._light = Image.new("L", (width, min(height, 2 * size)))
        self._dark = self._light.copy()
        baseline = (margin, self._light.height - margin)
        ImageDraw.Draw(self._light).text(baseline, text, fill=230, font=font, anchor="ls")
        ImageDraw.Draw(self._dark).text(
            baseline, text, fill=120, font=font, anchor="ls", stroke_width=max(1, size // 10)
        )
        self._corner = (0, height - self._light.height)

    def write_on(self, picture: Image.Image) -> None:
        picture.paste((20, 20, 30), self._corner, self._dark)
        picture.paste((255, 255, 255), self._corner, self._light)


def _fitting(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, prompt: str, width: int) -> str:
    """Return the mark and as many of the prompt's first words as `width` pixels hold."""
    # The default font knows ASCII only: leave the accents off, and mark what remains.
    letters = (letter for letter in unicodedata.normalize("NFKD", prompt) if not unicodedata.combining(letter))
    words = "".join(letters).encode("ascii", "replace").decode("ascii").split()
    text = _MARK
    for count in range(1, len(words) + 1):
        ellipsis = "…" if count < len(words) else ""
        longer = f"{_MARK}: {' '.join(words[:count])}{ellipsis}"
        if font.getlength(longer) > width:
            break
        text = longer
    return text
