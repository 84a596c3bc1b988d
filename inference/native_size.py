"""Which of its native sizes a model takes for a requested one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def nearest_native_size(requested: Size, native: Sequence[Size]) -> Size:
    """Return the native size nearest to `requested`, first by shape, then by area.

    Shape comes first because scaling the finished frames to another area only blurs them, whereas scaling
    them to another aspect ratio distorts them. Nearness is by ratio: twice as wide is as far as half as
    wide. Of equals, the first in `native` wins.

    Raises:
        ValueError: `native` is empty.
    """

    def distance(size: Size) -> tuple[Fraction, Fraction]:
        shape = Fraction(size.width * requested.height, size.height * requested.width)
        area = Fraction(size.width * size.height, requested.width * requested.height)
        return max(shape, 1 / shape), max(area, 1 / area)

    return min(native, key=distance)
