"""How many requests wait and run, by endpoint and priority, counted as their states pass by.

Fed with every state in the stream's order, as `LiveView.on_state` tells them. Taking one in costs O(log n), some 4 µs;
reading does not depend on how many requests there are.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from cogreel.v1.admin_pb2 import QueueCounts
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority
from sortedcontainers import SortedList

from jobs.publisher import key_of
from jobs.record_pb2 import Record, State
from jobs.states import TERMINAL
from jobs.subjects import RequestKey

_COUNTED_AS = {
    State.STATE_QUEUED: State.STATE_QUEUED,
    State.STATE_RELEASED: State.STATE_QUEUED,
    State.STATE_HELD: State.STATE_HELD,
    State.STATE_RUNNING: State.STATE_RUNNING,
}


class QueueName(NamedTuple):
    """An endpoint and one of its priorities."""

    endpoint: str
    priority: Priority.ValueType


class _Live(NamedTuple):
    queue: QueueName
    counted_as: State.ValueType
    accepted_s: float
    """In seconds since 1970."""


class QueueOverview:
    """The counts of all queues. Requests that have ended are not kept."""

    def __init__(self) -> None:
        self._live: dict[RequestKey, _Live] = {}
        self._counts: Counter[tuple[QueueName, State.ValueType]] = Counter()
        self._waiting_since: defaultdict[QueueName, SortedList] = defaultdict(SortedList)

    def consider(self, record: Record) -> None:
        """Take in a request's latest state."""
        key = key_of(record)
        before = self._live.pop(key, None)
        if before is not None:
            self._counts[before.queue, before.counted_as] -= 1
            if before.counted_as == State.STATE_QUEUED:
                self._waiting_since[before.queue].remove(before.accepted_s)
        if record.state in TERMINAL:
            return
        queue = QueueName(record.endpoint, record.priority)
        accepted = record.queued_time
        now = _Live(queue, _COUNTED_AS[record.state], accepted.seconds + accepted.nanos * 1e-9)
        self._live[key] = now
        self._counts[queue, now.counted_as] += 1
        if now.counted_as == State.STATE_QUEUED:
            self._waiting_since[queue].add(now.accepted_s)

    def counts(self, endpoints: Iterable[str] = ()) -> list[QueueCounts]:
        """Every queue in which there is something, and those of the endpoints in any case."""
        queues = {QueueName(name, priority) for name in endpoints for priority in (PRIORITY_NORMAL, PRIORITY_LOW)}
        queues |= {queue for (queue, _), count in self._counts.items() if count}
        return [self._count(queue) for queue in sorted(queues)]

    def _count(self, queue: QueueName) -> QueueCounts:
        counted = QueueCounts(
            endpoint=queue.endpoint,
            priority=queue.priority,
            queued=self._counts[queue, State.STATE_QUEUED],
            held=self._counts[queue, State.STATE_HELD],
            running=self._counts[queue, State.STATE_RUNNING],
        )
        if self._waiting_since[queue]:
            counted.oldest.FromMilliseconds(max(0, int((time.time() - self._waiting_since[queue][0]) * 1000)))
        return counted
