"""Which uploaded files are in use: those that a request names which is still kept, whatever its state."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Container

from jobs.input_file import input_files
from jobs.publisher import key_of
from jobs.record_pb2 import Record
from jobs.subjects import RequestKey
from jobs.view import LiveView


class Pins:
    """The index of one replica, fed by its view. Make it before the view is entered, which tells it of states."""

    def __init__(self, view: LiveView) -> None:
        self._known = view.projection.entries
        self._requests: defaultdict[str, set[RequestKey]] = defaultdict(set)
        self._free_since: dict[str, float] = {}
        view.on_state.append(self.consider)

    def consider(self, record: Record) -> None:
        """Take in a state of a request."""
        for found in input_files(record.submission):
            if found.object_key is not None:
                self._requests[found.object_key].add(key_of(record))
                self._free_since.pop(found.object_key, None)

    def pinned(self, object_key: str) -> bool:
        """Whether a request that is kept names this object, as far as this replica has seen."""
        named_by = self._requests.get(object_key)
        if named_by is None:
            return False
        named_by.difference_update([key for key in named_by if key not in self._known])
        if not named_by:
            del self._requests[object_key]
        return bool(named_by)

    def free_for_s(self, object_key: str) -> float | None:
        """For how many seconds it is known that no request names this object, 0 when first asked; None if one does."""
        if self.pinned(object_key):
            return None
        now = time.monotonic()
        return now - self._free_since.setdefault(object_key, now)

    def retain(self, object_keys: Container[str]) -> None:
        """Drop what is known of all objects but these: they are no more, whoever removed them."""
        for object_key in [key for key in self._free_since if key not in object_keys]:
            del self._free_since[object_key]
        for object_key in [key for key in self._requests if key not in object_keys]:
            self.pinned(object_key)  # which drops it, once nobody names it any more
