"""Random histories of one request: its states in REQ and its lines in LOG, as real workers would leave them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cogreel.v1.queue_pb2 import FAILURE_REASON_DEVICE, Failure, LogLine
from hypothesis import strategies as st

from jobs import states
from jobs.record_pb2 import LogEntry, Output, Record, State, Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEEDS = ("claim", "line", "line", "line", "old line", "release", "take over", "complete", "cancel", "others")
RARELY = 3
"""The deeds that end a request need a choice below this, of 12: what follows an end is dull."""


@dataclass(frozen=True, slots=True)
class History:
    """What both streams hold of a request; `lines` lacks those that have expired.

    `superseded_by` maps the sequence of each line that its attempt wrote too late to the index of the state that
    should have been its last. `log_end` is the last sequence in LOG, of any request.
    """

    states: tuple[tuple[int, Record], ...]
    lines: tuple[tuple[int, LogEntry], ...]
    superseded_by: dict[int, int]
    log_end: int


class Storyteller:
    """Takes a request through deeds of workers and callers; deeds that its state does not allow do nothing."""

    def __init__(self) -> None:
        self._req_seq = 0
        self._log_seq = 0
        self._states: list[tuple[int, Record]] = []
        self._lines: list[tuple[int, LogEntry]] = []
        self._written: dict[int, int] = {}
        """How many lines each attempt has written."""
        self._last_of: dict[int, int] = {}
        """The LOG sequence of the last line of each attempt."""
        self._add(states.queued(Record(max_attempts=1000), now=NOW))

    @property
    def _record(self) -> Record:
        return self._states[-1][1]

    @property
    def _last_line(self) -> int:
        return self._lines[-1][0] if self._lines else 0

    def _add(self, record: Record) -> None:
        self._req_seq += 1
        self._states.append((self._req_seq, record))

    def _write(self, attempt: int) -> None:
        self._log_seq += 1
        self._written[attempt] = self._written.get(attempt, 0) + 1
        self._last_of[attempt] = self._log_seq
        number = self._written[attempt]
        line = LogLine(attempt=attempt, message=f"line {number} of attempt {attempt}")
        self._lines.append((self._log_seq, LogEntry(attempt=attempt, number=number, line=line)))

    def do(self, deed: str, choice: int) -> None:
        """Do one deed; `choice` selects among attempts or ways."""
        record = self._record
        running = record.state == State.STATE_RUNNING
        own_last = self._last_of.get(record.attempt, record.log_seq)
        match deed:
            case "others":
                self._req_seq += choice % 3
                self._log_seq += choice % 5
            case "claim" if record.state in states.CLAIMABLE and not running:
                seen = self._last_line if record.attempt else 0
                self._add(states.claimed(record, Worker(), queued_seq=1, log_seq=seen, now=NOW))
            case "take over" if running:
                self._add(states.claimed(record, Worker(), queued_seq=1, log_seq=self._last_line, now=NOW))
            case "release" if running:
                failure = Failure(reason=FAILURE_REASON_DEVICE, attempt=record.attempt) if choice % 2 else None
                self._add(states.released(record, failure=failure, log_seq=own_last))
            case "complete" if running and choice < RARELY:
                self._add(states.completed(record, Output(), log_seq=own_last, now=NOW))
            case "cancel" if record.state not in states.TERMINAL and choice < RARELY:
                self._add(states.cancelled(record, log_seq=self._last_line, now=NOW))
            case "line" if running:
                self._write(record.attempt)
            case "old line" if record.attempt > running:
                self._write(1 + choice % (record.attempt - running))

    def history(self, expired: frozenset[int]) -> History:
        """What is left of it once the lines with these indices have expired."""
        ended_by = {
            before.attempt: index
            for index, ((_, before), _) in enumerate(zip(self._states, self._states[1:], strict=False), start=1)
            if before.state == State.STATE_RUNNING
        }
        superseded = {
            seq: ended_by[entry.attempt]
            for seq, entry in self._lines
            if entry.attempt in ended_by and seq > self._states[ended_by[entry.attempt]][1].log_seq
        }
        kept = tuple(line for index, line in enumerate(self._lines) if index not in expired)
        return History(tuple(self._states), kept, superseded, self._log_seq)


@st.composite
def histories(draw: st.DrawFn, *, expiry: bool = True) -> History:
    """A request's history; with `expiry`, some of its lines are gone."""
    teller = Storyteller()
    todo = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 11)), min_size=12, max_size=50)
    for deed, choice in draw(todo):
        teller.do(deed, choice)
    gone: frozenset[int] = frozenset()
    if expiry:
        a_prefix = st.integers(0, 20).map(lambda length: frozenset(range(length)))
        gone = draw(a_prefix | st.frozensets(st.integers(0, 20)))
    return teller.history(gone)
