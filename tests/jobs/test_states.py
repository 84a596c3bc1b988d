"""The state machine: what may follow what, and what a transition keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cogreel.v1.queue_pb2 import FAILURE_REASON_DEVICE, FAILURE_REASON_LEASE_LOST, Failure, RequestState

from jobs import states
from jobs.record_pb2 import Record, State, Worker
from tests.jobs.requests import new_request, output_named

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 5, tzinfo=UTC)
WORKER = Worker(incarnation="b2", name="host/cuda:0")

Transition = Callable[[Record], Record]

TRANSITIONS: dict[str, Transition] = {
    "queued": lambda record: states.queued(record, now=NOW),
    "claimed": lambda record: states.claimed(record, WORKER, queued_seq=7, log_seq=9, now=NOW),
    "released": lambda record: states.released(record, failure=None, log_seq=9),
    "completed": lambda record: states.completed(record, output_named("a.mp4"), log_seq=9, now=NOW),
    "failed": lambda record: states.failed(record, device_failure(record.attempt), log_seq=9, now=NOW),
    "cancelled": lambda record: states.cancelled(record, log_seq=9, now=NOW),
}

ALLOWED: dict[str, set[State.ValueType]] = {
    "queued": {State.STATE_UNSPECIFIED},
    "claimed": {State.STATE_QUEUED, State.STATE_RELEASED, State.STATE_RUNNING},
    "released": {State.STATE_RUNNING},
    "completed": {State.STATE_RUNNING},
    "failed": {State.STATE_HELD, State.STATE_QUEUED, State.STATE_RELEASED, State.STATE_RUNNING},
    "cancelled": {State.STATE_HELD, State.STATE_QUEUED, State.STATE_RELEASED, State.STATE_RUNNING},
}


def device_failure(attempt: int) -> Failure:
    return Failure(reason=FAILURE_REASON_DEVICE, message="out of memory", attempt=attempt)


def in_state(state: State.ValueType) -> Record:
    record = new_request()
    record.state = state
    record.attempt = 1
    record.log_seq = 5
    record.worker.CopyFrom(Worker(incarnation="a1", name="host/cuda:1"))
    return record


def running(*, max_attempts: int = 3) -> Record:
    return TRANSITIONS["claimed"](new_request(max_attempts=max_attempts))


@pytest.mark.parametrize("state", State.values())
@pytest.mark.parametrize("name", TRANSITIONS)
def test_a_transition_happens_only_from_the_states_that_lead_to_it(name: str, state: State.ValueType) -> None:
    record = in_state(state)
    if state in ALLOWED[name]:
        following = TRANSITIONS[name](record)
        expected = "RUNNING" if name == "claimed" else name.upper()
        assert State.Name(following.state) == f"STATE_{expected}"
    else:
        with pytest.raises(states.TransitionError, match="does not lead to"):
            TRANSITIONS[name](record)


@pytest.mark.parametrize("state", State.values())
def test_nothing_follows_a_terminal_state(state: State.ValueType) -> None:
    leads_somewhere = any(state in allowed for allowed in ALLOWED.values())
    assert leads_somewhere == (state not in states.TERMINAL)


@pytest.mark.parametrize(("name", "state"), [(n, s) for n, allowed in ALLOWED.items() for s in allowed])
def test_fields_of_a_newer_program_survive_and_the_given_record_stays_as_it_was(
    name: str, state: State.ValueType
) -> None:
    of_a_newer_program = b"\x82\xf1\x04\x05later"  # field 10000, a string
    record = Record.FromString(in_state(state).SerializeToString() + of_a_newer_program)
    before = record.SerializeToString(deterministic=True)
    following = TRANSITIONS[name](record)
    assert of_a_newer_program in following.SerializeToString()
    assert record.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("name", TRANSITIONS)
def test_each_write_is_told_from_every_other(name: str) -> None:
    record = in_state(min(ALLOWED[name]))
    written = {TRANSITIONS[name](record).write_id for _ in range(100)}
    assert len(written | {record.write_id}) == 101


def test_every_claim_counts_the_attempt_up_and_names_its_worker() -> None:
    first = running()
    assert (first.attempt, first.worker, first.queued_seq) == (1, WORKER, 7)
    assert first.started_time.ToDatetime(UTC) == NOW
    again = states.released(first, failure=None, log_seq=9)
    other = Worker(incarnation="c3", name="host/cuda:2")
    second = states.claimed(again, other, queued_seq=7, log_seq=9, now=LATER)
    assert (second.attempt, second.worker) == (2, other)
    assert second.started_time.ToDatetime(UTC) == LATER
    assert second.queued_time == first.queued_time


def test_a_drain_costs_no_attempt_however_often_it_happens() -> None:
    record = new_request(max_attempts=1)
    for attempt in range(1, 8):
        record = states.claimed(record, WORKER, queued_seq=7, log_seq=0, now=NOW)
        assert record.attempt == attempt
        record = states.released(record, failure=None, log_seq=0)
    assert not record.failed_attempts
    assert not states.exhausted(record)


def test_a_takeover_says_which_worker_stopped_in_which_attempt() -> None:
    first = running()
    second = states.claimed(first, Worker(incarnation="c3"), queued_seq=7, log_seq=9, now=LATER)
    (lost,) = second.failed_attempts
    assert (lost.reason, lost.attempt) == (FAILURE_REASON_LEASE_LOST, 1)
    assert "host/cuda:0" in lost.message


def test_attempts_are_exhausted_by_failures_of_any_kind() -> None:
    record = running(max_attempts=2)
    assert not states.exhausted(record)
    assert not states.exhausted(record, device_failure(1))
    record = TRANSITIONS["claimed"](states.released(record, failure=device_failure(1), log_seq=9))
    assert not states.exhausted(record)
    assert states.exhausted(record, states.lease_lost(record))


def test_a_failed_request_tells_the_reason_of_each_attempt() -> None:
    record = states.released(running(max_attempts=2), failure=device_failure(1), log_seq=9)
    ended = TRANSITIONS["failed"](TRANSITIONS["claimed"](record))
    assert ended.failure == device_failure(2)
    assert list(ended.failed_attempts) == [device_failure(1), device_failure(2)]
    assert ended.finished_time.ToDatetime(UTC) == NOW


def test_a_request_that_fails_before_any_attempt_has_no_failed_attempt() -> None:
    ended = states.failed(new_request(), device_failure(0), log_seq=0, now=NOW)
    assert ended.failure == device_failure(0)
    assert not ended.failed_attempts


@pytest.mark.parametrize("name", sorted(set(TRANSITIONS) - {"queued"}))
def test_a_state_never_names_an_earlier_line_than_the_state_before(name: str) -> None:
    record = in_state(min(ALLOWED[name]))
    record.log_seq = 40
    assert TRANSITIONS[name](record).log_seq == 40
    record.log_seq = 3
    assert TRANSITIONS[name](record).log_seq == 9


def test_callers_have_a_word_for_every_state() -> None:
    assert set(states.PUBLIC) == set(State.values()) - {State.STATE_UNSPECIFIED}
    assert set(states.PUBLIC.values()) == set(RequestState.values()) - {RequestState.REQUEST_STATE_UNSPECIFIED}
    words = {state: states.public_name(state) for state in states.PUBLIC}
    assert {words[state] for state in states.WAITING} == {"QUEUED"}
    assert {words[state] for state in states.TERMINAL} == {"COMPLETED", "FAILED", "CANCELLED"}
    assert words[State.STATE_RUNNING] == "RUNNING"
