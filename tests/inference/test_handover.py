"""Frames on their way from the thread that makes them to the one that encodes them."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest

from inference.handover import Handover
from inference.model import Chunks, Clip, DeviceError, Frames

WITHIN_S = 10.0


def chunk(level: int) -> Frames:
    return np.full((2, 4, 6, 3), level, np.uint8)


def clip_of(chunks: Chunks, count: int = 3) -> Clip:
    return Clip(2 * count, 6, 4, chunks)


def in_thread(handover: Handover) -> tuple[threading.Thread, list[Exception | None]]:
    """Pump in a thread of its own; the list is given what came of it."""
    done: list[Exception | None] = []
    thread = threading.Thread(target=lambda: done.append(handover.pump()))
    thread.start()
    return thread, done


def test_early_frames_arrive_while_later_ones_are_made() -> None:
    seen = threading.Event()

    def chunks() -> Chunks:
        yield chunk(1)
        assert seen.wait(WITHIN_S), "the first chunk did not arrive before the second was made"
        yield chunk(2)

    handover = Handover(clip_of(chunks(), 2))
    thread, done = in_thread(handover)
    with handover.received() as clip:
        first = next(clip.chunks)
        seen.set()
        rest = clip.frames()
    thread.join(WITHIN_S)
    assert (clip.length, clip.width, clip.height) == (4, 6, 4)
    assert np.array_equal(np.concatenate([first, rest]), np.concatenate([chunk(1), chunk(2)]))
    assert done == [None]


def test_who_makes_frames_never_waits_for_who_takes_them() -> None:
    handover = Handover(clip_of(chunk(level) for level in range(3)))
    assert handover.pump() is None
    with handover.received() as clip:
        assert len(clip.frames()) == 6


def test_what_goes_wrong_in_the_making_is_raised_after_the_frames_before_it() -> None:
    class Latents:
        """Stands for what lies on a device."""

    kept: list[weakref.ref[Latents]] = []

    def chunks() -> Chunks:
        latents = Latents()
        kept.append(weakref.ref(latents))
        yield chunk(1)
        raise DeviceError("out of memory")

    handover = Handover(clip_of(chunks()))
    failure = handover.pump()
    assert isinstance(failure, DeviceError)
    assert kept[0]() is None, "what was on the device is kept as long as the error"
    with handover.received() as clip:
        assert np.array_equal(next(clip.chunks), chunk(1))
        with pytest.raises(DeviceError, match="out of memory"):
            next(clip.chunks)


def test_no_more_frames_are_made_once_they_are_not_wanted() -> None:
    given_up, released = threading.Event(), threading.Event()
    made: list[int] = []

    def chunks() -> Chunks:
        try:
            for level in range(100):
                made.append(level)
                yield chunk(level)
                if level == 1:
                    assert given_up.wait(WITHIN_S)
        finally:
            released.set()

    handover = Handover(clip_of(chunks(), 100))
    thread, done = in_thread(handover)
    with handover.received() as clip:
        next(clip.chunks)
    given_up.set()
    thread.join(WITHIN_S)
    assert done == [None]
    assert len(made) <= 3
    assert released.is_set(), "what the others would have been made of is kept"
