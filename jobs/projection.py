"""What one service replica knows of all requests, in memory: states, places in the queue, progress.

Pure data: `view` feeds it from the stream. It can be thrown away and built again at any time. A place in the queue is
a rank among the QUEUED sequences of an endpoint and priority: O(log n) to keep and to read.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority, Progress
from sortedcontainers import SortedDict, SortedList

from jobs.record_pb2 import Record, State
from jobs.states import TERMINAL
from jobs.subjects import RequestKey

_IN_LINE = frozenset({State.STATE_QUEUED, State.STATE_RELEASED})


@dataclass(slots=True)
class Entry:
    """A request as the projection keeps it.

    `seq` is its latest state's sequence, `queued_seq` its place in line, `queued_ns` when it was accepted, in
    nanoseconds since 1970.
    """

    seq: int
    state: State.ValueType
    endpoint: str
    priority: Priority.ValueType
    queued_seq: int
    attempt: int
    queued_ns: int


class Projection:
    """All requests by key, in line by endpoint and priority, and by tenant in the order of their acceptance."""

    def __init__(self) -> None:
        self.entries: dict[RequestKey, Entry] = {}
        self.progress: dict[RequestKey, Progress] = {}
        self.by_tenant: defaultdict[str, SortedDict] = defaultdict(SortedDict)
        """For each tenant its requests by QUEUED sequence."""
        self.changes = 0
        """Counts changes to any queue, so that a reader knows when positions may have moved."""
        self._queues: defaultdict[tuple[str, Priority.ValueType], SortedList] = defaultdict(SortedList)

    def apply(self, key: RequestKey, seq: int, record: Record) -> None:
        """Take in a state. Older states than the one known are ignored, so states may come twice."""
        known = self.entries.get(key)
        if known is not None and known.seq >= seq:
            return
        if known is not None and known.state in _IN_LINE:
            self._queues[known.endpoint, known.priority].discard(known.queued_seq)
            self.changes += 1
        queued_seq = seq if record.state == State.STATE_QUEUED else record.queued_seq
        if not queued_seq:
            queued_seq = known.queued_seq if known is not None else seq
        queued_ns = record.queued_time.ToNanoseconds()
        entry = Entry(seq, record.state, record.endpoint, record.priority, queued_seq, record.attempt, queued_ns)
        self.entries[key] = entry
        if known is not None and known.queued_seq != queued_seq:
            self.by_tenant[key.tenant].pop(known.queued_seq, None)
        self.by_tenant[key.tenant][queued_seq] = key
        if entry.state in _IN_LINE:
            self._queues[entry.endpoint, entry.priority].add(queued_seq)
            self.changes += 1
        if entry.state in TERMINAL or (known is not None and known.attempt != entry.attempt):
            self.progress.pop(key, None)

    def forget(self, key: RequestKey) -> None:
        """Drop a request that was erased; one that has not ended stays."""
        entry = self.entries.get(key)
        if entry is None or entry.state not in TERMINAL:
            return
        del self.entries[key]
        index = self.by_tenant[key.tenant]
        index.pop(entry.queued_seq, None)
        if not index:
            del self.by_tenant[key.tenant]

    def apply_progress(self, key: RequestKey, progress: Progress) -> None:
        """Take in a step of the running attempt; steps of other attempts are ignored."""
        known = self.entries.get(key)
        if known is not None and known.state == State.STATE_RUNNING and known.attempt == progress.attempt:
            self.progress[key] = progress

    def position(self, key: RequestKey) -> int | None:
        """How many requests will be taken before this one; None if it is not waiting for a worker."""
        entry = self.entries.get(key)
        if entry is None or entry.state not in _IN_LINE:
            return None
        ahead = int(self._queues[entry.endpoint, entry.priority].bisect_left(entry.queued_seq))
        if entry.priority == PRIORITY_LOW:
            ahead += len(self._queues[entry.endpoint, PRIORITY_NORMAL])
        return ahead
