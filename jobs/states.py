"""The state machine of a request, as pure functions from record to record.

    QUEUED ──claim──► RUNNING(attempt n) ──► COMPLETED | FAILED
       ▲                │  │
       └──── release ───┘  └─lease lost─► RUNNING(attempt n+1)
    any state that is not terminal ──cancel──► CANCELLED
    HELD ──slot free──► QUEUED          (a tenant above its running limit; shown as QUEUED)

RELEASED is QUEUED for a further time: the request waits at its old place. Every claim counts `attempt` up, so that
the lines of two runs can be told apart; what is used up is counted by `failed_attempts`, so a drain costs nothing.

Each function copies the record that it was given and edits the copy, so that fields which this program does not know
survive. `publisher` makes a transition come true; nothing here does I/O.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from cogreel.v1.queue_pb2 import FAILURE_REASON_LEASE_LOST, Failure, RequestState

from jobs.record_pb2 import Output, Record, State, Worker

TERMINAL = frozenset({State.STATE_COMPLETED, State.STATE_FAILED, State.STATE_CANCELLED})
WAITING = frozenset({State.STATE_QUEUED, State.STATE_HELD, State.STATE_RELEASED})
IN_LINE = frozenset({State.STATE_QUEUED, State.STATE_RELEASED})
CLAIMABLE = frozenset({State.STATE_QUEUED, State.STATE_RELEASED, State.STATE_RUNNING})

PUBLIC: dict[State.ValueType, RequestState.ValueType] = {
    State.STATE_QUEUED: RequestState.REQUEST_STATE_QUEUED,
    State.STATE_HELD: RequestState.REQUEST_STATE_QUEUED,
    State.STATE_RELEASED: RequestState.REQUEST_STATE_QUEUED,
    State.STATE_RUNNING: RequestState.REQUEST_STATE_RUNNING,
    State.STATE_COMPLETED: RequestState.REQUEST_STATE_COMPLETED,
    State.STATE_FAILED: RequestState.REQUEST_STATE_FAILED,
    State.STATE_CANCELLED: RequestState.REQUEST_STATE_CANCELLED,
}
"""What callers see of each state."""


def public_name(state: State.ValueType) -> str:
    """What callers call a state: QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED."""
    return RequestState.Name(PUBLIC[state]).removeprefix("REQUEST_STATE_")


class TransitionError(Exception):
    """The record's state does not allow this transition; a fault of the program, not of a caller."""


def _next(record: Record, state: State.ValueType, allowed: frozenset[State.ValueType], log_seq: int) -> Record:
    if record.state not in allowed:
        raise TransitionError(f"{State.Name(record.state)} does not lead to {State.Name(state)}")
    following = Record()
    following.CopyFrom(record)
    following.state = state
    following.log_seq = max(log_seq, record.log_seq)
    following.write_id = secrets.token_bytes(12)
    return following


def queued(record: Record, *, now: datetime) -> Record:
    """The first state of a new request, from a record that has everything but a state."""
    return _first(record, State.STATE_QUEUED, now)


def held(record: Record, *, now: datetime) -> Record:
    """The first state of a new request whose tenant has no slot free, as `queued`."""
    return _first(record, State.STATE_HELD, now)


def _first(record: Record, state: State.ValueType, now: datetime) -> Record:
    first = _next(record, state, frozenset({State.STATE_UNSPECIFIED}), 0)
    first.queued_time.FromDatetime(now)
    return first


def admitted(record: Record) -> Record:
    """A slot of the tenant is free: the request takes its place at the end of the line."""
    return _next(record, State.STATE_QUEUED, frozenset({State.STATE_HELD}), 0)


def lease_lost(record: Record) -> Failure:
    """Why the attempt of a RUNNING record failed, when its worker is gone."""
    return Failure(
        reason=FAILURE_REASON_LEASE_LOST,
        message=f"worker {record.worker.name} stopped during attempt {record.attempt}",
        attempt=record.attempt,
    )


def exhausted(record: Record, failure: Failure | None = None) -> bool:
    """Whether no attempt is left, once `failure` is counted as well."""
    return len(record.failed_attempts) + (failure is not None) >= record.max_attempts


def claimed(record: Record, worker: Worker, *, queued_seq: int, log_seq: int, now: datetime) -> Record:
    """A worker takes a waiting request, or takes over a running one whose worker is gone."""
    following = _next(record, State.STATE_RUNNING, CLAIMABLE, log_seq)
    if record.state == State.STATE_RUNNING:
        following.failed_attempts.append(lease_lost(record))
    following.attempt = record.attempt + 1
    following.worker.CopyFrom(worker)
    following.queued_seq = queued_seq
    following.started_time.FromDatetime(now)
    return following


def released(record: Record, *, failure: Failure | None, log_seq: int) -> Record:
    """A worker hands the request back: without `failure` for a drain, with it for a failure worth a retry."""
    following = _next(record, State.STATE_RELEASED, frozenset({State.STATE_RUNNING}), log_seq)
    if failure is not None:
        following.failed_attempts.append(failure)
    return following


def completed(record: Record, output: Output, *, log_seq: int, now: datetime) -> Record:
    """The running attempt has a result."""
    following = _next(record, State.STATE_COMPLETED, frozenset({State.STATE_RUNNING}), log_seq)
    following.output.CopyFrom(output)
    following.finished_time.FromDatetime(now)
    return following


def failed(record: Record, failure: Failure, *, log_seq: int, now: datetime) -> Record:
    """The request ends without a result."""
    following = _next(record, State.STATE_FAILED, WAITING | {State.STATE_RUNNING}, log_seq)
    following.failure.CopyFrom(failure)
    if failure.attempt:
        following.failed_attempts.append(failure)
    following.finished_time.FromDatetime(now)
    return following


def cancelled(record: Record, *, log_seq: int, now: datetime) -> Record:
    """The caller does not want the request any more."""
    following = _next(record, State.STATE_CANCELLED, WAITING | {State.STATE_RUNNING}, log_seq)
    following.finished_time.FromDatetime(now)
    return following
