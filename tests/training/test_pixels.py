"""The pixel checker: it must read every drawn clip, at every size, and must not be easy to please."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.model import Frames
from inference.small_model import SMALL_NATIVE_SIZES
from training.drawing import draw_clip
from training.pixels import Seen, judge, look_at
from training.scenes import Motion, MovingShape, Scene, Shape, Size, draw_scene

SCENE = Scene("white", (MovingShape(Shape.TRIANGLE, "green", Size.MEDIUM, Motion.RIGHT),))


def drawn(scene: Scene, width: int = 96, height: int = 64) -> Frames:
    return (draw_clip(scene, width, height).pixels * 255).round().astype(np.uint8)


@pytest.mark.parametrize("size", SMALL_NATIVE_SIZES)
@pytest.mark.parametrize("pairs", [0.0, 1.0], ids=["one shape", "two shapes"])
def test_what_is_drawn_is_read_again(size: tuple[int, int], pairs: float) -> None:
    lot = np.random.default_rng(size)
    scenes = [draw_scene(lot, pairs=pairs, spread=1.0) for _ in range(12)]
    assert [scene for scene in scenes if not judge(drawn(scene, *size), scene).all] == []


def test_a_scene_that_begins_there_shows_its_motion_and_tells_nothing_of_it_at_first() -> None:
    lot = np.random.default_rng(5)
    for _ in range(40):
        scene = draw_scene(lot, spread=0.5)
        begins = replace(scene, shapes=(replace(scene.shapes[0], begins_there=True, offset=(0.0, 0.0)),))
        still = replace(scene, shapes=(replace(scene.shapes[0], motion=Motion.STILL, offset=(0.0, 0.0)),))
        assert judge(drawn(begins), begins).all
        assert np.array_equal(drawn(begins)[0], drawn(still)[0])


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"color": "blue"}, "color"),
        ({"shape": Shape.STAR}, "shape"),
        ({"motion": Motion.LEFT}, "motion"),
        ({"motion": Motion.STILL}, "motion"),
    ],
)
def test_a_clip_of_something_else_is_told_by_what_differs(change: dict[str, object], wrong: str) -> None:
    other = Scene("white", (replace(SCENE.shapes[0], **change),))  # type: ignore[arg-type]
    verdict = judge(drawn(other), SCENE)
    assert {trait for trait, right in vars(verdict).items() if not right} == {wrong}


def test_another_background_is_told() -> None:
    assert not judge(drawn(replace(SCENE, background="black")), SCENE).background


def test_a_clip_that_runs_backwards_moves_the_other_way() -> None:
    assert look_at(drawn(SCENE)[::-1]).motion is Motion.LEFT


def test_noise_and_blur_at_the_edges_do_not_mislead() -> None:
    frames = drawn(SCENE).astype(float)
    blurred = (frames + np.roll(frames, 1, axis=2) + np.roll(frames, 1, axis=1)) / 3
    noise = np.random.default_rng(0).normal(0, 8, frames.shape)
    assert judge((blurred + noise).clip(0, 255).astype(np.uint8), SCENE).all


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_picture_shows_a_background_and_nothing_else(value: int) -> None:
    frames = np.full((17, 64, 96, 3), value, np.uint8)
    assert look_at(frames) == Seen({0: "black", 255: "white"}[value])
    assert not judge(frames, SCENE).color


def test_pure_noise_shows_no_scene() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (17, 64, 96, 3), dtype=np.uint8)
    assert look_at(frames).color is None
