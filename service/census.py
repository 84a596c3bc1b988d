"""How many requests wait and run, counted as their states arrive: what the metrics show of the queue itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from jobs.metrics import priority_label
from jobs.publisher import key_of
from jobs.record_pb2 import Record, State
from jobs.subjects import RequestKey

QUEUED, HELD, RUNNING = "queued", "held", "running"
_SHOWN = {
    State.STATE_QUEUED: QUEUED,
    State.STATE_RELEASED: QUEUED,
    State.STATE_HELD: HELD,
    State.STATE_RUNNING: RUNNING,
}


class Group(NamedTuple):
    """Requests of one endpoint, priority and state."""

    endpoint: str
    priority: str
    state: str


class Census:
    """All requests that have not ended, in groups. Written by the event loop, read by any thread."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._groups: dict[Group, dict[RequestKey, float]] = {
            Group(endpoint, priority_label(priority), state): {}
            for endpoint in endpoints
            for priority in (PRIORITY_NORMAL, PRIORITY_LOW)
            for state in (QUEUED, HELD, RUNNING)
        }
        self._group_of: dict[RequestKey, Group] = {}

    def consider(self, record: Record) -> None:
        """Take in a state. States of one request come in their order."""
        key = key_of(record)
        known = self._group_of.pop(key, None)
        if known is not None:
            del self._groups[known][key]
        state = _SHOWN.get(record.state)
        if state is None:  # it has ended, or is in a state that only a newer version knows
            return
        group = Group(record.endpoint, priority_label(record.priority), state)
        self._group_of[key] = group
        self._groups.setdefault(group, {})[key] = record.queued_time.ToNanoseconds() / 1e9

    def depths(self) -> Iterator[tuple[Group, int]]:
        """How many requests are in each group; all groups of served endpoints are named."""
        for group, members in list(self._groups.items()):
            yield group, len(members)

    def oldest(self) -> Iterator[tuple[Group, float | None]]:
        """When the oldest request of each queued group was accepted, in seconds since 1970; None if it is empty."""
        for group, members in list(self._groups.items()):
            if group.state == QUEUED:
                yield group, min(list(members.values()), default=None)
