"""Places in the queue: each one that was told was true at some moment before it arrived, and the moments are in order.

The true place after each state of REQ is worked out here from the stream: how many requests are in line before this
one, normal before low and by the first QUEUED sequence. It grows only when a request with a higher priority is
submitted, or when one that was taken earlier is handed back; so does what watchers may be told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import PRIORITY_LOW

from tests.chaos.history import History
from tests.chaos.request_rules import QUEUED, RELEASED, Requests
from tests.chaos.violation import Violation
from tests.chaos.watch_rules import by_watcher


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place from one state of REQ on, stored at that time."""

    seq: int
    stored_at: float
    position: int


def places(requests: Requests) -> dict[str, list[Place]]:
    """How the place of each request moved, while it was in line."""
    states = sorted((state for found in requests.values() for state in found), key=lambda state: state.seq)
    in_line: dict[str, tuple[str, bool, int]] = {}
    queued_seq: dict[str, int] = {}
    moved: defaultdict[str, list[Place]] = defaultdict(list)
    for state in states:
        record = state.record
        if record.state == QUEUED:
            queued_seq[record.request_id] = state.seq
        if record.state in {QUEUED, RELEASED}:
            rank = (record.endpoint, record.priority == PRIORITY_LOW, queued_seq[record.request_id])
            in_line[record.request_id] = rank
        elif in_line.pop(record.request_id, None) is None:
            continue  # nobody moved
        for request_id, (endpoint, low, seq) in in_line.items():
            ahead = sum(other[0] == endpoint and other[1:] < (low, seq) for other in in_line.values())
            known = moved[request_id]
            if request_id == record.request_id or not known or known[-1].position != ahead:
                known.append(Place(state.seq, state.stored_at, ahead))
    return dict(moved)


def position_violations(requests: Requests, history: History) -> Iterator[Violation]:
    """Each watcher's positions, across all its streams, follow the places of its request in time."""
    moved = places(requests)
    for watcher, events in by_watcher(history).items():
        course = moved.get(events[0].request_id, [])
        at = 0
        for event in events:
            if event.position is None:
                continue
            fits = (
                index
                for index in range(at, len(course))
                if course[index].position == event.position and course[index].stored_at <= event.at
            )
            found = next(fits, None)
            if found is None:
                past = [place.position for place in course[: at + 1]]
                seen = f"{watcher}: told {event.position} in stream {event.stream}, after places {past[-5:]}"
                yield Violation("positions are true and in order", event.request_id, seen)
                break
            at = found
