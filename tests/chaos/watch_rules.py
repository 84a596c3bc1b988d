"""What each watcher must have seen, worked out from the streams: every event, once, in the defined order.

    state k, then the lines of k's attempt up to log_seq(k+1), then state k+1

Lines of k's attempt that were stored later than that are dropped as soon as state k+1 is known, so a watcher may have
seen the first few of them before it, but never another line or a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import Stage

from jobs.record_pb2 import Record, State
from tests.chaos.evidence import StoredEntry
from tests.chaos.history import History, WatchEvent
from tests.chaos.request_rules import ENDED, RUNNING, Requests
from tests.chaos.violation import Violation

Told = tuple[str | int, ...]
"""What an event says, in a form in which the streams' side and the watcher's can be compared."""

OUTSIDE_THE_PROMISE = frozenset({"position", "checkpoint"})
PUBLIC_NAMES: Mapping[State.ValueType, str] = {
    State.STATE_QUEUED: "QUEUED",
    State.STATE_HELD: "QUEUED",
    State.STATE_RELEASED: "QUEUED",
    State.STATE_RUNNING: "RUNNING",
    State.STATE_COMPLETED: "COMPLETED",
    State.STATE_FAILED: "FAILED",
    State.STATE_CANCELLED: "CANCELLED",
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A state, the lines that belong to it, and those that came too late for it."""

    state: Told
    lines: tuple[Told, ...]
    late: tuple[Told, ...]


def watch_violations(requests: Requests, entries: Sequence[StoredEntry], history: History) -> Iterator[Violation]:
    """No watcher has a gap, a duplicate, another order, or an event that is not on record."""
    entries_of: defaultdict[str, list[StoredEntry]] = defaultdict(list)
    for entry in entries:
        entries_of[entry.subject.split(".")[2]].append(entry)
    chapters: dict[str, list[Chapter]] = {}
    for watcher, events in by_watcher(history).items():
        request_id = events[0].request_id
        if request_id not in requests:
            yield Violation("a watcher sees what is on record", request_id, f"{watcher}: no such request")
            continue
        if request_id not in chapters:
            chapters[request_id] = _chapters(requests, entries_of, request_id)
        seen = [_told_by(event) for event in events if event.kind not in OUTSIDE_THE_PROMISE]
        problem = _first_difference(seen, chapters[request_id])
        if problem is not None:
            yield Violation("a watch has no gap, no duplicate and one order", request_id, f"{watcher}: {problem}")
        elif requests[request_id][-1].record.state in ENDED and seen[-1:] != [chapters[request_id][-1].state]:
            yield Violation("a watch reaches the end of its request", request_id, f"{watcher}: {seen[-1:]}")


def by_watcher(history: History) -> dict[str, list[WatchEvent]]:
    """The events of each watcher in the order in which they came."""
    found: defaultdict[str, list[WatchEvent]] = defaultdict(list)
    for event in history.of(WatchEvent):
        found[event.watcher].append(event)
    return dict(found)


def _chapters(requests: Requests, entries_of: Mapping[str, Sequence[StoredEntry]], request_id: str) -> list[Chapter]:
    states = requests[request_id]
    entries = entries_of.get(request_id.replace("-", ""), ())
    found = []
    for number, state in enumerate(states):
        following = states[number + 1].record if number + 1 < len(states) else None
        lines: list[Told] = []
        late: list[Told] = []
        if state.record.state == RUNNING:
            last_number = 0
            for stored in entries:
                entry = stored.entry
                if entry.attempt != state.record.attempt or entry.number <= last_number:
                    continue  # of another attempt, or stored twice
                last_number = entry.number
                in_time = following is None or stored.seq <= following.log_seq
                (lines if in_time else late).append(_told_in(stored))
        found.append(Chapter(_told_of(state.record), tuple(lines), tuple(late)))
    return found


def _told_of(record: Record) -> Told:
    moment = record.queued_time
    if record.HasField("started_time"):
        moment = record.started_time
    if record.HasField("finished_time"):
        moment = record.finished_time
    return ("state", PUBLIC_NAMES[record.state], record.attempt, moment.ToNanoseconds())


def _told_in(stored: StoredEntry) -> Told:
    entry = stored.entry
    if entry.HasField("line"):
        return ("log", entry.attempt, entry.time.ToNanoseconds(), entry.line.message)
    progress = entry.progress
    stage = Stage.Name(progress.stage)
    return ("progress", entry.attempt, entry.time.ToNanoseconds(), stage, progress.step, progress.total)


def _told_by(event: WatchEvent) -> Told:
    match event.kind:
        case "state":
            return ("state", event.state, event.attempt, event.event_ns)
        case "log":
            return ("log", event.attempt, event.event_ns, event.line)
        case "progress":
            return ("progress", event.attempt, event.event_ns, event.stage, event.step, event.total)
        case other:
            return (other, event.attempt)


def _first_difference(seen: Sequence[Told], chapters: Sequence[Chapter]) -> str | None:
    """Where what was seen leaves the record; None if it is a beginning of it, or all of it."""
    at = 0
    for chapter in chapters:
        for expected in (chapter.state, *chapter.lines):
            if at == len(seen):
                return None
            if seen[at] != expected:
                return f"event {at} is {seen[at]}, not {expected}"
            at += 1
        for late in chapter.late:
            if at < len(seen) and seen[at] == late:
                at += 1
            else:
                break
    return None if at == len(seen) else f"event {at} is {seen[at]}, after the end"
