"""What one service replica knows of all requests, in memory: states, places in the queue, counts, progress.

Pure data: `view` feeds it from the stream. It can be thrown away and built again at any time. A place in the queue is
a rank among the QUEUED sequences of an endpoint and priority: O(log n) to keep and to read. Counts are kept as states
pass by, so that reading them does not depend on how many requests there are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority, Progress
from sortedcontainers import SortedDict

from jobs.record_pb2 import Record, State
from jobs.states import IN_LINE, TERMINAL
from jobs.subjects import RequestKey


class QueueName(NamedTuple):
    """An endpoint and one of its priorities."""

    endpoint: str
    priority: Priority.ValueType


@dataclass(slots=True)
class Entry:
    """A request as the projection keeps it.

    `seq` is its latest state's sequence, `accepted_seq` that of its first state, and `queued_seq` its place in line;
    the two differ for a request that was held at first. `accepted_ns` is when it was accepted, in nanoseconds since
    1970, and `stored_bytes` the size of its video.
    """

    seq: int
    state: State.ValueType
    queue: QueueName
    accepted_seq: int
    queued_seq: int
    attempt: int
    accepted_ns: int
    stored_bytes: int


class Usage(NamedTuple):
    """What a tenant has in the queue: requests that wait (held ones too), that hold a slot (all others that have not
    ended), that are held; and the bytes of its videos.
    """

    waiting: int
    admitted: int
    held: int
    stored_bytes: int


class Projection:
    """All requests by key, in line by endpoint and priority, and by tenant in the order of their acceptance."""

    def __init__(self) -> None:
        self.entries: dict[RequestKey, Entry] = {}
        self.progress: dict[RequestKey, Progress] = {}
        self.by_tenant: defaultdict[str, SortedDict] = defaultdict(SortedDict)
        """For each tenant its requests by the sequence of their first state."""
        self.changes = 0
        """Counts changes to any queue, so that a reader knows when positions may have moved."""
        self.waiting = 0
        """How many requests wait, of all tenants."""
        self._lines: defaultdict[QueueName, SortedDict] = defaultdict(SortedDict)
        self._held: defaultdict[str, SortedDict] = defaultdict(SortedDict)
        self._counts: Counter[tuple[QueueName, State.ValueType]] = Counter()
        self._tenants: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def apply(self, key: RequestKey, seq: int, record: Record) -> None:
        """Take in a state. Older states than the one known are ignored, so states may come twice."""
        known = self.entries.get(key)
        if known is not None and known.seq >= seq:
            return
        if known is not None:
            self._leave(key, known)
        before = None if known is None or _begins(known, record) else known
        queued_seq = seq if record.state == State.STATE_QUEUED else record.queued_seq
        if not queued_seq:
            queued_seq = before.queued_seq if before is not None else seq
        entry = Entry(
            seq=seq,
            state=record.state,
            queue=QueueName(record.endpoint, record.priority),
            accepted_seq=before.accepted_seq if before is not None else queued_seq,
            queued_seq=queued_seq,
            attempt=record.attempt,
            accepted_ns=record.queued_time.ToNanoseconds(),
            stored_bytes=record.output.video.video.file_size if record.state == State.STATE_COMPLETED else 0,
        )
        self._enter(key, entry)
        if entry.state in TERMINAL or (known is not None and known.attempt != entry.attempt):
            self.progress.pop(key, None)

    def _enter(self, key: RequestKey, entry: Entry) -> None:
        self.entries[key] = entry
        self.by_tenant[key.tenant][entry.accepted_seq] = key
        if entry.state in IN_LINE:
            self._lines[entry.queue][entry.queued_seq] = key
        elif entry.state == State.STATE_HELD:
            self._held[key.tenant][entry.queue.priority, entry.accepted_seq] = key
        self._count(key, entry, 1)

    def _leave(self, key: RequestKey, entry: Entry) -> None:
        self.by_tenant[key.tenant].pop(entry.accepted_seq, None)
        if entry.state in IN_LINE:
            self._lines[entry.queue].pop(entry.queued_seq, None)
        elif entry.state == State.STATE_HELD:
            self._held[key.tenant].pop((entry.queue.priority, entry.accepted_seq), None)
            if not self._held[key.tenant]:
                del self._held[key.tenant]
        self._count(key, entry, -1)

    def _count(self, key: RequestKey, entry: Entry, by: int) -> None:
        counts = self._tenants[key.tenant]
        counts["stored_bytes"] += by * entry.stored_bytes
        if entry.state in TERMINAL:
            return
        held = entry.state == State.STATE_HELD
        waits = held or entry.state in IN_LINE
        self._counts[entry.queue, State.STATE_QUEUED if entry.state in IN_LINE else entry.state] += by
        counts["held" if held else "admitted"] += by
        counts["waiting"] += by * waits
        self.waiting += by * waits
        self.changes += waits

    def forget(self, key: RequestKey, *, though_living: bool = False) -> None:
        """Drop a request that was erased. One that has not ended stays, unless it is certain to be gone."""
        entry = self.entries.get(key)
        if entry is None or (entry.state not in TERMINAL and not though_living):
            return
        self._leave(key, entry)
        del self.entries[key]
        self.progress.pop(key, None)
        if not self.by_tenant[key.tenant]:
            del self.by_tenant[key.tenant], self._tenants[key.tenant]

    def apply_progress(self, key: RequestKey, progress: Progress) -> None:
        """Take in a step of the running attempt; steps of other attempts are ignored."""
        known = self.entries.get(key)
        if known is not None and known.state == State.STATE_RUNNING and known.attempt == progress.attempt:
            self.progress[key] = progress

    def position(self, key: RequestKey) -> int | None:
        """How many requests will be taken before this one; None if it is not waiting for a worker.

        For one that is held: how many held ones of its tenant will be queued before it.
        """
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.state == State.STATE_HELD:
            return int(self._held[key.tenant].bisect_left((entry.queue.priority, entry.accepted_seq)))
        if entry.state not in IN_LINE:
            return None
        ahead = int(self._lines[entry.queue].bisect_left(entry.queued_seq))
        if entry.queue.priority == PRIORITY_LOW:
            ahead += len(self._lines[QueueName(entry.queue.endpoint, PRIORITY_NORMAL)])
        return ahead

    def usage(self, tenant: str) -> Usage:
        """What a tenant has in the queue."""
        counts = self._tenants.get(tenant, Counter())
        return Usage(counts["waiting"], counts["admitted"], counts["held"], counts["stored_bytes"])

    def first_held(self, tenant: str) -> RequestKey | None:
        """Which of a tenant's held requests is to be queued next: normal before low, and the oldest."""
        held = self._held.get(tenant)
        return held.peekitem(0)[1] if held else None

    def holding(self) -> set[str]:
        """The tenants that have held requests."""
        return {tenant for tenant, held in self._held.items() if held}

    def counts(self) -> list[tuple[QueueName, State.ValueType, int]]:
        """How many requests there are by queue and state; released ones count as queued. From any thread."""
        return [(queue, state, count) for (queue, state), count in list(self._counts.items()) if count]

    def oldest_ns(self, queue: QueueName) -> int | None:
        """When the first in line was accepted, in nanoseconds since 1970; None where nobody waits. From any thread."""
        while line := self._lines.get(queue):
            try:
                return self.entries[line.peekitem(0)[1]].accepted_ns
            except (IndexError, KeyError):
                continue  # it left the line between two looks of another thread
        return None

    def living(self) -> Iterator[RequestKey]:
        """The requests that have not ended, as of now."""
        return (key for key, entry in list(self.entries.items()) if entry.state not in TERMINAL)


def _begins(known: Entry, record: Record) -> bool:
    """Whether a state is the first of a new request, under the id of one that was erased."""
    if known.state in TERMINAL or record.state == State.STATE_HELD:
        return True
    return record.state == State.STATE_QUEUED and known.state != State.STATE_HELD
