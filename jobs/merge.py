"""The order of a request's events, out of two streams: its states (REQ) and its steps and lines (LOG).

State k comes first, then the lines of k's attempt with log_seq(k) < seq ≤ log_seq(k+1), then state k+1, which is held
back until those have passed or are known to have expired. Later lines of an old attempt are dropped, once the state
that makes them late is known. Lines count themselves within their attempt, so a missing one shows, and is told once as
truncated; one that was stored twice is told once.

Pure data: `watch` feeds it and sends on what comes out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.cursor import Place
from jobs.record_pb2 import LogEntry, Record, State
from jobs.states import TERMINAL


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A transition."""

    place: Place
    record: Record


@dataclass(frozen=True, slots=True)
class EntryEvent:
    """A step or a line of the running attempt."""

    place: Place
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class TruncatedEvent:
    """Steps and lines of this attempt before this point have expired."""

    place: Place
    attempt: int


Event = StateEvent | EntryEvent | TruncatedEvent


class EventMerge:
    """Takes states and lines in the order of their streams, each perhaps twice, and gives events in their order.

    `start` is where the reader is already. The state at `start.req_seq` itself must be pushed first: it is not given
    out again, but what follows depends on it.
    """

    def __init__(self, start: Place) -> None:
        self.current: Record | None = None
        self.place = start
        self._start = start
        self._states: deque[tuple[int, Record]] = deque()
        self._entries: deque[tuple[int, LogEntry]] = deque()
        self._state_pushed = 0
        self._entry_pushed = start.log_seq
        self._dropped: set[int] = set()
        """Entries that nobody is told of, beyond the one that the last state names: the next may name one of them."""

    @property
    def finished(self) -> bool:
        """Whether the terminal state has been given out."""
        return self.current is not None and self.current.state in TERMINAL

    @property
    def _running(self) -> int | None:
        """The attempt that runs in the current state."""
        return self.current.attempt if self.current is not None and self.current.state == State.STATE_RUNNING else None

    def push_state(self, seq: int, record: Record) -> None:
        """Take in a state; one that was pushed before is ignored."""
        if seq <= self._state_pushed:
            return
        self._state_pushed = seq
        if seq == self._start.req_seq:
            self.current = record
        elif seq > self._start.req_seq:
            self._states.append((seq, record))

    def push_entry(self, seq: int, entry: LogEntry) -> None:
        """Take in a step or line; one that was pushed before is ignored."""
        if seq > self._entry_pushed:
            self._entry_pushed = seq
            self._entries.append((seq, entry))

    def ready(self, log_position: int) -> Iterator[Event]:
        """What can be told now. `log_position`: every entry of the request up to that sequence has been pushed."""
        while self._states:
            seq, record = self._states[0]
            yield from self._entries_until(record.log_seq)
            if max(log_position, self._entry_pushed) < record.log_seq:
                return
            seen = record.log_seq <= self.place.log_seq or record.log_seq in self._dropped
            if self._running is not None and not seen:  # the line that the record names has expired
                self.place = Place(self.place.req_seq, record.log_seq, self.place.log_number)
                yield TruncatedEvent(self.place, self._running)
            self._states.popleft()
            self._dropped = {later for later in self._dropped if later > record.log_seq}
            self.current = record
            self.place = Place(seq, max(self.place.log_seq, record.log_seq))
            yield StateEvent(self.place, record)
        if self._running is not None:
            yield from self._entries_until(None)

    def _entries_until(self, last_seq: int | None) -> Iterator[Event]:
        """Give out the entries of the running attempt, drop those of others and repeats, keep those of later ones."""
        running = self._running
        while self._entries:
            seq, entry = self._entries[0]
            later = seq > last_seq if last_seq is not None else entry.attempt > (running or 0)
            if later:
                return
            self._entries.popleft()
            if running is None or entry.attempt != running or entry.number <= self.place.log_number:
                self._dropped.add(seq)
                continue
            if entry.number != self.place.log_number + 1:
                yield TruncatedEvent(Place(self.place.req_seq, seq - 1, entry.number - 1), running)
            self.place = Place(self.place.req_seq, seq, entry.number)
            yield EntryEvent(self.place, entry)
