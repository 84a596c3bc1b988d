"""A clip on its way from the thread that makes it to the one that encodes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from inference.model import Clip, Frames


class Handover:
    """Hands the chunks of a clip to another thread while later ones are made.

    A whole clip finds room between the two, so that a device never waits for an encoder.
    """

    def __init__(self, clip: Clip) -> None:
        """`clip` is what `pump` takes from."""
        self._clip = clip
        self._ready: SimpleQueue[Frames | Exception | None] = SimpleQueue()
        self._abandoned = False

    def pump(self) -> bool:
        """Make all chunks and hand them over; whether that was done.

        What goes wrong in the making is raised at the other end. Where that end has given up, the rest is not made.
        """
        try:
            for chunk in self._clip.chunks:
                if self._abandoned:
                    return False
                self._ready.put(chunk)
        except Exception as error:  # noqa: BLE001 - it belongs to the other end
            self._ready.put(error)
            return False
        self._ready.put(None)
        return True

    @contextmanager
    def received(self) -> Iterator[Clip]:
        """The clip at the other end: its chunks are waited for. No more are made after the block."""
        clip = self._clip
        try:
            yield Clip(clip.length, clip.width, clip.height, self._chunks())
        finally:
            self._abandoned = True

    def _chunks(self) -> Iterator[Frames]:
        while (found := self._ready.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found
