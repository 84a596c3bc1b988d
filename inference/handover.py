"""A clip on its way from the thread that makes it to the one that encodes it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from queue import SimpleQueue

from inference.model import Chunks, Clip, Frames


class Handover:
    """Hands the chunks of a clip to another thread while later ones are made.

    A whole clip finds room between the two, so that a device never waits for an encoder.
    """

    def __init__(self, clip: Clip) -> None:
        """`clip` is what `pump` takes from."""
        self._clip = clip
        self._ready: SimpleQueue[Frames | Exception | None] = SimpleQueue()
        self._abandoned = False

    def pump(self) -> Exception | None:
        """Make all chunks and hand them over; what went wrong in that, which is raised at the other end as well.

        Where that end has given up, the rest is not made.
        """
        failure: Exception | None = None
        try:
            with closing(self._clip.chunks) as chunks:
                for chunk in chunks:
                    if self._abandoned:
                        break
                    self._ready.put(chunk)
        except Exception as error:  # noqa: BLE001 - it belongs to the other end
            # The frames that it came through hold latents and caches on the device, for as long as someone holds it.
            traceback.clear_frames(error.__traceback__)
            failure = error
        finally:
            self._ready.put(failure)
        return failure

    @contextmanager
    def received(self) -> Iterator[Clip]:
        """The clip at the other end: its chunks are waited for. No more are made after the block."""
        clip = self._clip
        try:
            yield Clip(clip.length, clip.width, clip.height, self._chunks())
        finally:
            self._abandoned = True

    def _chunks(self) -> Chunks:
        while (found := self._ready.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found
