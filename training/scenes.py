"""What the small model is taught to film: one or two coloured shapes that move over a plain background."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np

FRAMES = 17
"""Frames of a clip: 5 latent frames, and two of the chunks in which CogVideoX's autoencoder works."""

PALETTE = {
    "red": (205, 30, 45),
    "orange": (250, 130, 20),
    "yellow": (250, 235, 60),
    "green": (35, 160, 70),
    "blue": (40, 75, 230),
    "purple": (140, 45, 185),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
"""sRGB values of the named colours, each at least 100 from every other (Euclidean distance of 8-bit values)."""

_CONTRAST = 140
"""A shape's colour is at least this far from its background's: fainter pairs teach little."""

_HELD_OUT_OF = 8
"""One combination in so many is kept from training, for tests."""


class Shape(StrEnum):
    """What moves."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    STAR = "star"


class Size(StrEnum):
    """How large it is, as a share of the frame's shorter side; captions may leave out a medium size."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"

    @property
    def radius(self) -> float:
        """Half the shape's extent, as a share of the shorter side of the frame."""
        return {Size.SMALL: 0.17, Size.MEDIUM: 0.22, Size.LARGE: 0.28}[self]


class Motion(StrEnum):
    """What it does from the first frame to the last."""

    STILL = "still"
    RIGHT = "right"
    LEFT = "left"
    UP = "up"
    DOWN = "down"
    GROWING = "growing"
    SHRINKING = "shrinking"
    SPINNING = "spinning"
    BOUNCING = "bouncing"


ALONG = {Motion.RIGHT: (1, 0), Motion.LEFT: (-1, 0), Motion.DOWN: (0, 1), Motion.UP: (0, -1)}
"""The unit vector of each straight motion, in pixels' axes: x to the right, y down."""

_IN_PAIRS = (Motion.STILL, Motion.GROWING, Motion.SHRINKING, Motion.SPINNING, Motion.BOUNCING, Motion.UP, Motion.DOWN)
"""Motions of shapes that stand side by side: none that would make them meet."""


@dataclass(frozen=True)
class MovingShape:
    """One shape of a scene. `offset` shifts its whole path, as shares (x, y) of the room that its motion leaves.

    With `begins_there` the path begins where it would else be half-way, and what grows or shrinks begins at the size
    of what does not: the first frame then tells nothing of the motion.
    """

    shape: Shape
    color: str
    size: Size
    motion: Motion
    offset: tuple[float, float] = (0.0, 0.0)
    begins_there: bool = False

    @property
    def name(self) -> str:
        """Colour and shape, such as `red circle`."""
        return f"{self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A background and what moves over it: one shape in the middle, or two side by side, the left one first."""

    background: str
    shapes: tuple[MovingShape, ...]


def contrasts(color: str, other: str) -> bool:
    """Whether the two named colours are far enough apart to be shape and background."""
    return float(np.linalg.norm(np.subtract(PALETTE[color], PALETTE[other]))) >= _CONTRAST


def held_out(shape: Shape, color: str, motion: Motion, background: str) -> bool:
    """Whether this combination is kept from training: the same answer on every machine."""
    key = f"{shape}/{color}/{motion}/{background}".encode()
    return hashlib.blake2b(key, digest_size=4).digest()[0] % _HELD_OUT_OF == 0


_COMBINATIONS = [
    combination
    for combination in product(Shape, PALETTE, Motion, PALETTE)
    if contrasts(combination[1], combination[3]) and (combination[0], combination[2]) != (Shape.CIRCLE, Motion.SPINNING)
]
_FOR_TRAINING = [combination for combination in _COMBINATIONS if not held_out(*combination)]
_FOR_TESTS = [combination for combination in _COMBINATIONS if held_out(*combination)]


def draw_scene(lot: np.random.Generator, *, pairs: float = 0.0, spread: float = 0.0, tests: bool = False) -> Scene:
    """Draw one scene by lot.

    Args:
        lot: decides everything; equal generators draw equal scenes.
        pairs: how often there are two shapes, from 0 to 1.
        spread: how far from the middle paths may lie, from 0 (all are centred) to 1 (anywhere in the frame).
        tests: draw from the combinations of shape, colour, motion and background that training never sees,
            instead of from the others.
    """
    combinations = _FOR_TESTS if tests else _FOR_TRAINING
    if lot.random() >= pairs:
        shape, color, motion, background = combinations[lot.integers(len(combinations))]
        size = Size(lot.choice(list(Size)))
        return Scene(background, (MovingShape(shape, color, size, motion, _offset(lot, spread)),))
    sides: list[MovingShape] = []
    background = str(lot.choice(list(PALETTE)))
    while len(sides) < 2:
        shape, color, motion, over = combinations[lot.integers(len(combinations))]
        if over == background and motion in _IN_PAIRS and all(contrasts(color, side.color) for side in sides):
            # Half of the shapes stand still, so that a caption of a pair stays short.
            motion = Motion.STILL if lot.random() < 0.5 else motion
            sides.append(MovingShape(shape, color, Size.MEDIUM, motion, _offset(lot, spread / 2)))
    return Scene(background, tuple(sides))


def centred_scenes() -> list[Scene]:
    """All scenes of one shape in the middle that training may see: each combination at each size.

    Those that differ in shape alone stand together, then those that differ in motion.
    """
    return [
        Scene(background, (MovingShape(shape, color, size, motion),))
        for background, color, size, motion, shape in product(PALETTE, PALETTE, Size, Motion, Shape)
        if (shape, color, motion, background) in _FOR_TRAINING
    ]


def _offset(lot: np.random.Generator, spread: float) -> tuple[float, float]:
    x, y = lot.uniform(-spread, spread, 2)
    return float(x), float(y)
