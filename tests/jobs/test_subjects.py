"""Subjects: whatever tenants and endpoints are called, requests stay apart."""

from __future__ import annotations

import re
import uuid

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.record_pb2 import State
from jobs.subjects import (
    RequestKey,
    consumer_name,
    log_subject,
    parse_request,
    queued_filter,
    request_subject,
    state_subject,
    states_filter,
    token,
    untoken,
)

quickly = settings(deadline=None, database=None)
names = st.text(min_size=1, max_size=100)


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subject falls under a filter: `*` is one token, `>` is one or more."""
    parts = [
        "[^.]+(\\.[^.]+)*" if part == ">" else "[^.]+" if part == "*" else re.escape(part)
        for part in pattern.split(".")
    ]
    return re.fullmatch("\\.".join(parts), subject) is not None


@quickly
@given(names)
@example("a.b")
@example("*")
@example(">")
@example("blank \t\r\n in it")
@example("fal-ai/cogvideox-5b")
@example("Ünïcödé 漢字")
def test_any_name_becomes_one_token_and_comes_back(name: str) -> None:
    assert re.fullmatch("[a-z2-7]+", token(name))
    assert untoken(token(name)) == name  # so two names never share a token


@quickly
@given(tenant=names, other=names, request_id=st.uuids(), endpoint=names)
def test_the_states_of_a_request_fall_under_its_filter_and_no_other(
    tenant: str, other: str, request_id: uuid.UUID, endpoint: str
) -> None:
    key = RequestKey(tenant, str(request_id))
    for state in State.values():
        subject = state_subject(key, state, endpoint, PRIORITY_NORMAL)
        assert matches(states_filter(key), subject)
        assert parse_request(subject) == key
        assert matches(states_filter(RequestKey(other, str(request_id))), subject) == (tenant == other)
    assert parse_request(log_subject(key)) == key
    assert not matches(states_filter(key), f"{request_subject(key)}.wh")


@quickly
@given(endpoint=names, other=names)
def test_a_consumer_gets_the_queued_requests_of_one_endpoint_and_priority(endpoint: str, other: str) -> None:
    key = RequestKey("tenant", str(uuid.uuid4()))
    subject = state_subject(key, State.STATE_QUEUED, endpoint, PRIORITY_LOW)
    assert matches(queued_filter(endpoint, PRIORITY_LOW), subject)
    assert not matches(queued_filter(endpoint, PRIORITY_NORMAL), subject)
    assert matches(queued_filter(other, PRIORITY_LOW), subject) == (endpoint == other)
    running = state_subject(key, State.STATE_RUNNING, endpoint, PRIORITY_LOW)
    assert not matches(queued_filter(endpoint, PRIORITY_LOW), running)


@quickly
@given(endpoint=names, other=names)
def test_consumers_of_different_endpoints_and_priorities_have_different_names(endpoint: str, other: str) -> None:
    made = {(name, priority) for name in (endpoint, other) for priority in (PRIORITY_NORMAL, PRIORITY_LOW)}
    assert len({consumer_name(*pair) for pair in made}) == len(made)
    assert all(re.fullmatch("[a-z2-7]+-(normal|low)", consumer_name(*pair)) for pair in made)


def test_a_request_id_is_the_same_however_its_uuid_is_written() -> None:
    request_id = uuid.uuid4()
    spellings = [str(request_id), str(request_id).upper(), request_id.hex, f"{{{request_id}}}"]
    assert len({states_filter(RequestKey("tenant", spelling)) for spelling in spellings}) == 1
