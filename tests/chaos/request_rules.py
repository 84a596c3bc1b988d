"""What must hold of each request's states, whoever asked for it and whatever died meanwhile."""

from __future__ import annotations

import base64
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from jobs.record_pb2 import State
from tests.chaos.evidence import StoredState
from tests.chaos.violation import Violation

QUEUED, HELD, RUNNING, RELEASED = (
    State.STATE_QUEUED,
    State.STATE_HELD,
    State.STATE_RUNNING,
    State.STATE_RELEASED,
)
ENDED = frozenset({State.STATE_COMPLETED, State.STATE_FAILED, State.STATE_CANCELLED})
FIRST = frozenset({QUEUED, HELD})
WORKERS_WORD = frozenset({State.STATE_COMPLETED, State.STATE_FAILED, RELEASED})
"""States that only who runs the request may publish, or who has made sure that nobody does."""

LEADS_TO: Mapping[State.ValueType, frozenset[State.ValueType]] = {
    QUEUED: frozenset({RUNNING, State.STATE_FAILED, State.STATE_CANCELLED}),
    HELD: frozenset({QUEUED, State.STATE_FAILED, State.STATE_CANCELLED}),
    RUNNING: frozenset({RUNNING, RELEASED, State.STATE_COMPLETED, State.STATE_FAILED, State.STATE_CANCELLED}),
    RELEASED: frozenset({RUNNING, State.STATE_FAILED, State.STATE_CANCELLED}),
}

Requests = Mapping[str, Sequence[StoredState]]


def by_request(states: Sequence[StoredState]) -> dict[str, list[StoredState]]:
    """The states of each request in the order of the stream; other messages of REQ are left out."""
    found: defaultdict[str, list[StoredState]] = defaultdict(list)
    for state in states:
        if state.subject.split(".")[3] == "st":
            found[state.record.request_id].append(state)
    return dict(found)


def state_violations(requests: Requests) -> Iterator[Violation]:
    """One terminal state, at the end; no forbidden step; attempts that grow by one; nobody but the holder wrote."""
    for request_id, states in requests.items():
        yield from _subjects(request_id, states)
        yield from _course(request_id, states)
        yield from _attempts(request_id, states)
        yield from _holders(request_id, states)


def name_of(state: StoredState) -> str:
    """A state as messages call it."""
    return f"{State.Name(state.record.state).removeprefix('STATE_')}({state.record.attempt}) at {state.seq}"


def _subjects(request_id: str, states: Sequence[StoredState]) -> Iterator[Violation]:
    for state in states:
        _, tenant, hexadecimal, _, name, *_ = state.subject.split(".")
        record = state.record
        encoded = base64.b32encode(record.tenant.encode()).decode().rstrip("=").lower()
        expected = (encoded, uuid.UUID(request_id).hex, State.Name(record.state).removeprefix("STATE_"))
        if (tenant, hexadecimal, name) != expected:
            yield Violation("a state's subject tells its record", request_id, f"{state.subject} holds {name_of(state)}")


def _course(request_id: str, states: Sequence[StoredState]) -> Iterator[Violation]:
    if states[0].record.state not in FIRST:
        yield Violation("a request begins by being queued", request_id, name_of(states[0]))
    ends = [state for state in states if state.record.state in ENDED]
    if len(ends) != 1:
        seen = ", ".join(map(name_of, ends)) or f"still {name_of(states[-1])}"
        yield Violation("a request has exactly one terminal state", request_id, seen)
    for before, after in pairwise(states):
        if before.record.state in ENDED:
            yield Violation("nothing follows a terminal state", request_id, f"{name_of(before)}, then {name_of(after)}")
        elif after.record.state not in LEADS_TO[before.record.state]:
            yield Violation("a state leads to the next", request_id, f"{name_of(before)}, then {name_of(after)}")


def _attempts(request_id: str, states: Sequence[StoredState]) -> Iterator[Violation]:
    for before, after in pairwise(states):
        grown = after.record.attempt - before.record.attempt
        seen = f"{name_of(before)}, then {name_of(after)}"
        if after.record.state == RUNNING and grown != 1:
            yield Violation("each RUNNING is the next attempt", request_id, seen)
        elif grown < 0:
            yield Violation("attempts only grow", request_id, seen)
        used, known = after.record.failed_attempts, before.record.failed_attempts
        if list(used[: len(known)]) != list(known):
            yield Violation("failed attempts are never forgotten", request_id, seen)
        if len(used) > after.record.max_attempts:
            yield Violation("no more attempts fail than are allowed", request_id, seen)


def _holders(request_id: str, states: Sequence[StoredState]) -> Iterator[Violation]:
    for before, after in pairwise(states):
        if after.record.state not in WORKERS_WORD or not after.record.attempt:
            continue
        holder, writer = (before.record.worker, before.record.attempt), (after.record.worker, after.record.attempt)
        if before.record.state == RUNNING and holder != writer:
            seen = f"{name_of(before)} by {holder[0].incarnation}, then {name_of(after)} by {writer[0].incarnation}"
            yield Violation("no zombie writes", request_id, seen)
