"""Scenes and their captions: repeatable, apart from the tests, and in words that the tokenizer knows."""

from __future__ import annotations

import numpy as np

from inference.prompt_embeddings import MAX_TEXT_TOKENS
from training.captions import caption
from training.scenes import PALETTE, Motion, MovingShape, Scene, Shape, Size, draw_scene, held_out
from training.tokenizer import new_tokenizer


def test_equal_lots_give_equal_scenes_and_captions() -> None:
    def told(seed: int) -> list[str]:
        lot = np.random.default_rng(seed)
        return [caption(draw_scene(lot, pairs=0.3, spread=1.0), lot) for _ in range(20)]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_training_never_sees_what_the_tests_ask_for() -> None:
    lot = np.random.default_rng(0)

    def combinations(*, tests: bool) -> set[tuple[Shape, str, Motion, str]]:
        scenes = [draw_scene(lot, tests=tests) for _ in range(3000)]
        return {(s.shapes[0].shape, s.shapes[0].color, s.shapes[0].motion, s.background) for s in scenes}

    assert all(held_out(*combination) for combination in combinations(tests=True))
    assert not any(held_out(*combination) for combination in combinations(tests=False))


def test_a_complete_caption_names_colors_and_is_worded_in_many_ways() -> None:
    lot = np.random.default_rng(0)
    scene = Scene("blue", (MovingShape(Shape.CIRCLE, "red", Size.SMALL, Motion.RIGHT),))
    captions = {caption(scene, lot, complete=True) for _ in range(200)}
    assert len(captions) > 100
    assert all("red" in text.lower() and "blue" in text.lower() and "right" in text for text in captions)


def test_colors_lie_well_apart() -> None:
    values = np.array(list(PALETTE.values()), float)
    distances = np.linalg.norm(values[:, None] - values, axis=-1)
    assert distances[np.triu_indices(len(values), 1)].min() >= 100


def test_a_word_of_a_caption_is_one_token_and_no_text_is_unknown() -> None:
    tokenizer = new_tokenizer()
    text = "A small red circle moves to the right over a blue background."
    assert len(tokenizer.tokenize(text)) == len(text.split()) + 1  # the full stop
    for strange in ("kaleidoscope", "quux-42!", "CamelCase"):
        assert tokenizer.unk_token_id not in tokenizer(strange).input_ids


def test_long_captions_fit_the_text_encoder() -> None:
    lot = np.random.default_rng(0)
    tokenizer = new_tokenizer()
    captions = [caption(draw_scene(lot, pairs=0.5), lot) for _ in range(500)]
    longest = max(len(tokenizer(text).input_ids) for text in captions)
    assert longest <= MAX_TEXT_TOKENS
