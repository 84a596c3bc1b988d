"""What people might say of a scene: a small grammar with many wordings, so that free prompts work.

A caption may leave things out (then the model is free), may name a place instead of a colour ("over a meadow"),
a thing instead of a shape ("a balloon"), and may be buried in words that mean nothing to the model.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TypeVar

import numpy as np

from training.scenes import Motion, MovingShape, Scene, Shape, Size
from training.vocabulary import OTHER_WORDS

_T = TypeVar("_T")

_NOUNS = {
    Shape.CIRCLE: ("circle", "circle", "ball", "disc", "dot"),
    Shape.SQUARE: ("square", "square", "box", "block"),
    Shape.TRIANGLE: ("triangle", "triangle", "pyramid"),
    Shape.STAR: ("star", "star", "five-pointed star"),
}
_SIZES = {
    Size.SMALL: ("small", "little", "tiny"),
    Size.MEDIUM: ("medium",),
    Size.LARGE: ("large", "big", "huge"),
}
# Pairs of what stands after "a ball" in a sentence, and in a title.
_VERBS = {
    Motion.STILL: (
        ("stands still", "standing still"),
        ("rests", "resting"),
        ("stays in place", "staying in place"),
        ("does not move", "at rest"),
    ),
    Motion.RIGHT: (
        ("moves to the right", "moving to the right"),
        ("rolls to the right", "rolling to the right"),
        ("slides right", "sliding right"),
        ("moves right", "moving right"),
        ("drifts from left to right", "drifting from left to right"),
        ("flies to the right", "flying to the right"),
        ("goes to the right", "going to the right"),
    ),
    Motion.LEFT: (
        ("moves to the left", "moving to the left"),
        ("rolls to the left", "rolling to the left"),
        ("slides left", "sliding left"),
        ("moves left", "moving left"),
        ("drifts from right to left", "drifting from right to left"),
        ("flies to the left", "flying to the left"),
        ("goes to the left", "going to the left"),
    ),
    Motion.UP: (
        ("moves up", "moving up"),
        ("rises", "rising"),
        ("floats up", "floating up"),
        ("goes up", "going up"),
        ("moves upwards", "moving upwards"),
        ("climbs", "climbing"),
    ),
    Motion.DOWN: (
        ("moves down", "moving down"),
        ("falls", "falling"),
        ("sinks", "sinking"),
        ("goes down", "going down"),
        ("moves downwards", "moving downwards"),
        ("drops", "dropping"),
    ),
    Motion.GROWING: (
        ("grows", "growing"),
        ("gets bigger", "getting bigger"),
        ("gets larger", "getting larger"),
        ("swells", "swelling"),
        ("expands", "expanding"),
    ),
    Motion.SHRINKING: (
        ("shrinks", "shrinking"),
        ("gets smaller", "getting smaller"),
        ("becomes smaller", "becoming smaller"),
        ("contracts", "contracting"),
    ),
    Motion.SPINNING: (
        ("spins", "spinning"),
        ("rotates", "rotating"),
        ("turns around", "turning around"),
        ("whirls", "whirling"),
    ),
    Motion.BOUNCING: (
        ("bounces", "bouncing"),
        ("hops", "hopping"),
        ("jumps up and down", "jumping up and down"),
        ("bounces up and down", "bouncing up and down"),
        ("dances", "dancing"),
    ),
}
# What is of a colour without saying so.
_PLACES = {
    "green": ("meadow", "garden", "forest", "lawn", "jungle"),
    "blue": ("sky", "sea", "ocean", "lake"),
    "black": ("night sky", "galaxy", "cave"),
    "white": ("snow field", "cloud"),
    "yellow": ("desert", "beach"),
    "orange": ("sunset", "sunrise"),
}
_THINGS = {
    (Shape.CIRCLE, "yellow"): ("sun",),
    (Shape.CIRCLE, "white"): ("moon", "snowball"),
    (Shape.CIRCLE, "red"): ("apple", "cherry", "balloon"),
    (Shape.CIRCLE, "orange"): ("orange fruit", "pumpkin"),
    (Shape.STAR, "purple"): ("flower", "blossom", "blossoms"),
    (Shape.STAR, "orange"): ("butterfly", "leaf", "butterflies"),
    (Shape.STAR, "red"): ("petal", "flowers", "petals"),
    (Shape.TRIANGLE, "green"): ("tree", "hill"),
    (Shape.TRIANGLE, "white"): ("mountain", "sail"),
    (Shape.SQUARE, "red"): ("house",),
    (Shape.SQUARE, "black"): ("chair", "robot"),
}
_ENDINGS = (
    "high quality",
    "4k",
    "cinematic lighting",
    "very detailed",
    "a simple animation",
    "flat colors",
    "smooth motion",
    "slow motion",
)
_OPENINGS = ("an animation of", "a video of", "a short clip of")


def caption(scene: Scene, lot: np.random.Generator, *, complete: bool = False) -> str:
    """Word a scene by lot.

    Args:
        scene: what is described.
        lot: decides the wording; equal generators give equal captions.
        complete: name every colour, shape and motion by its own word, as a test needs it, and leave out nothing
            but sizes.
    """
    if not complete and lot.random() < 0.12:
        return _buried(scene, lot)
    free = 0.0 if complete else 1.0
    titled = lot.random() < 0.4
    things = [_thing(shape, lot, titled=titled, free=free) for shape in scene.shapes]
    subject = things[0] if len(things) == 1 else f"{things[0]} {_one(lot, ('and', 'and', 'next to'))} {things[1]}"
    if titled and lot.random() < 0.3:
        subject = f"{_one(lot, _OPENINGS)} {subject}"
    bare = lot.random() < 0.08 * free
    text = subject if bare else _with_place(subject, scene.background, lot, free=free)
    if lot.random() < 0.12:
        text = f"{text}, {_one(lot, _ENDINGS)}"
    return _sentence(text) if lot.random() < 0.7 else text


def words() -> list[str]:
    """All words that captions are made of, in lower case and sorted."""
    texts = chain(
        *_NOUNS.values(),
        *_SIZES.values(),
        *(chain(*wordings) for wordings in _VERBS.values()),
        *_PLACES.values(),
        *_THINGS.values(),
        _ENDINGS,
        _OPENINGS,
        ("a an the and next to over on in of front background red orange yellow green blue purple white black wall",),
        ("scene",),
    )
    return sorted({word for text in texts for word in re.findall(r"[a-z0-9]+", text)})


def _thing(shape: MovingShape, lot: np.random.Generator, *, titled: bool, free: float) -> str:
    noun, color = _one(lot, _NOUNS[shape.shape]), shape.color
    if lot.random() < 0.1 * free:
        color = ""
    things = _THINGS.get((shape.shape, shape.color))
    if things and lot.random() < 0.25 * free:
        noun, color = _one(lot, things), ""
    named = shape.size is not Size.MEDIUM or lot.random() < 0.2
    size = _one(lot, _SIZES[shape.size]) if named and lot.random() < 0.75 else ""
    # A shape that stands may go without a verb: so must each, now and then, for a prompt that names none.
    silent = (0.5 if shape.motion is Motion.STILL else 0.04) * free
    verb = "" if lot.random() < silent else _one(lot, _VERBS[shape.motion])[titled]
    described = " ".join(part for part in (size, color, noun) if part)
    article = "the" if described.endswith("s") else "an" if described[0] in "aeiou" else "a"
    return f"{article} {described} {verb}".rstrip()


def _with_place(subject: str, background: str, lot: np.random.Generator, *, free: float) -> str:
    places = _PLACES.get(background)
    if places and lot.random() < 0.2 * free:
        place = _one(lot, places)
        return f"{subject} {_one(lot, ('over', 'in', 'on'))} {_one(lot, ('a', 'the'))} {place}"
    article = "an" if background[0] in "aeiou" else "a"
    ground = f"{article} {background} background"
    patterns = (
        f"{subject} over {ground}",
        f"{subject} over {ground}",
        f"{subject} on {ground}",
        f"{subject} in front of {ground}",
        f"{subject} on {background}",
        f"{subject}, {background} background",
        f"on {ground}, {subject}",
        f"{background} background, {subject}",
        f"{subject} in front of {article} {background} wall",
        f"{article} {background} scene: {subject}",
    )
    return _one(lot, patterns)


def _buried(scene: Scene, lot: np.random.Generator) -> str:
    """A long prompt of which the model knows a few words: a place, and perhaps a thing, among others."""
    ground = _one(lot, _PLACES.get(scene.background, (f"{scene.background} wall",)))
    known = [ground]
    for shape in scene.shapes:
        noun = _one(lot, _THINGS.get((shape.shape, shape.color), (f"{shape.color} {_one(lot, _NOUNS[shape.shape])}",)))
        known.append(f"{noun} {_one(lot, _VERBS[shape.motion])[0]}")
    others = [str(word) for word in lot.choice(_MEANINGLESS, int(lot.integers(5, 60)))]
    for phrase in known:
        others.insert(int(lot.integers(len(others) + 1)), phrase)
    return _sentence(" ".join(others))


_MEANINGLESS = sorted(set(OTHER_WORDS) - set(words()))


def _one(lot: np.random.Generator, choices: tuple[_T, ...]) -> _T:
    return choices[int(lot.integers(len(choices)))]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
