"""The overview counts exactly what waits, is held and runs, through every transition."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cogreel.v1.admin_pb2 import QueueCounts
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Failure, Priority
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import states
from jobs.overview import QueueOverview
from jobs.record_pb2 import Output, Record, State, Worker

WORKER = Worker(incarnation="a1")


def request(
    *, endpoint: str = "small", priority: Priority.ValueType = PRIORITY_NORMAL, age: timedelta = timedelta()
) -> Record:
    record = Record(tenant="t", request_id=str(uuid.uuid4()), endpoint=endpoint, priority=priority, max_attempts=1000)
    return states.queued(record, now=datetime.now(UTC) - age)


def held(record: Record) -> Record:
    following = Record()
    following.CopyFrom(record)
    following.state = State.STATE_HELD
    return following


def claimed(record: Record) -> Record:
    return states.claimed(record, WORKER, queued_seq=1, log_seq=0, now=datetime.now(UTC))


def cancelled(record: Record) -> Record:
    return states.cancelled(record, log_seq=0, now=datetime.now(UTC))


def only(counts: list[QueueCounts]) -> QueueCounts:
    [count] = counts
    return count


def test_a_request_is_counted_once_in_the_state_that_it_is_in() -> None:
    overview = QueueOverview()
    record = request()
    for state, expected in (
        (held(record), (0, 1, 0)),
        (record, (1, 0, 0)),
        (running := claimed(record), (0, 0, 1)),
        (released := states.released(running, failure=None, log_seq=0), (1, 0, 0)),
        (again := claimed(released), (0, 0, 1)),
    ):
        overview.consider(state)
        count = only(overview.counts())
        assert (count.queued, count.held, count.running) == expected
    overview.consider(states.completed(again, Output(), log_seq=0, now=datetime.now(UTC)))
    assert overview.counts() == []


def test_queues_are_sorted_and_those_of_served_endpoints_shown_empty() -> None:
    overview = QueueOverview()
    overview.consider(request(endpoint="other", priority=PRIORITY_LOW))
    shown = [(count.endpoint, count.priority, count.queued) for count in overview.counts(["served", "also"])]
    assert shown == [
        ("also", PRIORITY_NORMAL, 0),
        ("also", PRIORITY_LOW, 0),
        ("other", PRIORITY_LOW, 1),
        ("served", PRIORITY_NORMAL, 0),
        ("served", PRIORITY_LOW, 0),
    ]


def test_the_oldest_is_the_one_that_was_accepted_first_among_the_queued() -> None:
    overview = QueueOverview()
    oldest, younger = request(age=timedelta(minutes=5)), request(age=timedelta(minutes=2))
    overview.consider(younger)
    overview.consider(held(request(age=timedelta(hours=1))))
    overview.consider(oldest)
    assert only(overview.counts()).oldest.ToSeconds() == pytest.approx(300, abs=30)
    running = claimed(oldest)
    overview.consider(running)
    assert only(overview.counts()).oldest.ToSeconds() == pytest.approx(120, abs=30)
    overview.consider(states.released(running, failure=Failure(), log_seq=0))
    assert only(overview.counts()).oldest.ToSeconds() == pytest.approx(300, abs=30)
    overview.consider(cancelled(oldest))
    overview.consider(cancelled(younger))
    assert not only(overview.counts()).HasField("oldest")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_after_any_history_the_counts_are_those_of_the_requests(seed: int) -> None:
    chance = random.Random(seed)
    overview = QueueOverview()
    requests: list[Record] = []
    for _ in range(200):
        live = [index for index, record in enumerate(requests) if record.state not in states.TERMINAL]
        if not live or chance.random() < 0.3:
            endpoint, priority = chance.choice(["small", "large"]), chance.choice([PRIORITY_NORMAL, PRIORITY_LOW])
            record = request(endpoint=endpoint, priority=priority)
            requests.append(held(record) if chance.random() < 0.3 else record)
            overview.consider(requests[-1])
            continue
        index = chance.choice(live)
        record = requests[index]
        if chance.random() < 0.2:
            following = cancelled(record)
        elif record.state == State.STATE_RUNNING:
            following = states.released(record, failure=None, log_seq=0)
        elif record.state == State.STATE_HELD:
            following = Record()
            following.CopyFrom(record)
            following.state = State.STATE_QUEUED
        else:
            following = claimed(record)
        requests[index] = following
        overview.consider(following)
    expected: Counter[tuple[str, Priority.ValueType, str]] = Counter()
    for record in requests:
        if record.state in states.TERMINAL:
            continue
        kind = {State.STATE_HELD: "held", State.STATE_RUNNING: "running"}.get(record.state, "queued")
        expected[record.endpoint, record.priority, kind] += 1
    counted = Counter(
        {
            (count.endpoint, count.priority, kind): getattr(count, kind)
            for count in overview.counts()
            for kind in ("queued", "held", "running")
            if getattr(count, kind)
        }
    )
    assert counted == expected
