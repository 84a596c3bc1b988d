"""The projection: places in the queue are exact, whatever happens and in whatever order it is heard of."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority, Progress
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import states
from jobs.projection import Projection
from jobs.publisher import key_of
from jobs.record_pb2 import Output, Record, State, Worker
from jobs.subjects import RequestKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = Worker(incarnation="a1")
QUEUES = [(endpoint, priority) for endpoint in ("small", "large") for priority in (PRIORITY_NORMAL, PRIORITY_LOW)]


@dataclass
class Stream:
    """REQ as a list: the states of several requests, with the model that positions are held against."""

    messages: list[tuple[RequestKey, int, Record]] = field(default_factory=list)
    latest: dict[RequestKey, Record] = field(default_factory=dict)
    in_line: list[RequestKey] = field(default_factory=list)
    """Those that wait, in the order in which they were queued."""
    queued: dict[RequestKey, int] = field(default_factory=dict)

    def add(self, record: Record) -> RequestKey:
        key = key_of(record)
        self.messages.append((key, len(self.messages) + 1, record))
        self.latest[key] = record
        self.queued.setdefault(key, len(self.messages))
        if key in self.in_line:
            self.in_line.remove(key)
        if record.state in {State.STATE_QUEUED, State.STATE_RELEASED}:
            self.in_line.append(key)
            self.in_line.sort(key=lambda waiting: self.queued[waiting])
        return key

    def submit(self, endpoint: str, priority: Priority.ValueType) -> RequestKey:
        record = Record(tenant="t", request_id=str(uuid.uuid4()), endpoint=endpoint, priority=priority, max_attempts=9)
        return self.add(states.queued(record, now=NOW))

    def claim(self, key: RequestKey) -> None:
        record = self.latest[key]
        self.add(states.claimed(record, WORKER, queued_seq=self.queued[key], log_seq=0, now=NOW))

    def release(self, key: RequestKey) -> None:
        self.add(states.released(self.latest[key], failure=None, log_seq=0))

    def complete(self, key: RequestKey) -> None:
        self.add(states.completed(self.latest[key], Output(), log_seq=0, now=NOW))

    def cancel(self, key: RequestKey) -> None:
        self.add(states.cancelled(self.latest[key], log_seq=0, now=NOW))

    def position(self, key: RequestKey) -> int | None:
        """Counted one by one: who waits for the same endpoint and comes first, normal before low."""
        if key not in self.in_line:
            return None
        mine = self.latest[key]
        before = 0
        for other in self.in_line:
            record = self.latest[other]
            if record.endpoint != mine.endpoint or other == key:
                continue
            if record.priority == mine.priority:
                before += self.queued[other] < self.queued[key]
            else:
                before += mine.priority == PRIORITY_LOW
        return before

    def do_something(self, deed: str, choice: int) -> None:
        """One random deed among the requests that allow it."""
        if deed == "submit":
            self.submit(*QUEUES[choice % len(QUEUES)])
            return
        allowed = {
            "claim": states.CLAIMABLE,
            "release": {State.STATE_RUNNING},
            "complete": {State.STATE_RUNNING},
            "cancel": set(State.values()) - states.TERMINAL,
        }[deed]
        candidates = [key for key, record in self.latest.items() if record.state in allowed]
        if candidates:
            getattr(self, deed)(candidates[choice % len(candidates)])


DEEDS = ("submit", "submit", "claim", "release", "complete", "cancel")
deeds = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 99)), min_size=15, max_size=60)


def projected(stream: Stream) -> Projection:
    projection = Projection()
    for message in stream.messages:
        projection.apply(*message)
    return projection


def assert_exact(projection: Projection, stream: Stream) -> None:
    positions = {key: projection.position(key) for key in stream.latest}
    assert positions == {key: stream.position(key) for key in stream.latest}


@settings(deadline=None, database=None)
@given(deeds)
def test_positions_are_exact_after_every_transition(todo: list[tuple[str, int]]) -> None:
    stream, projection = Stream(), Projection()
    for deed, choice in todo:
        heard = len(stream.messages)
        stream.do_something(deed, choice)
        for message in stream.messages[heard:]:
            projection.apply(*message)
        assert_exact(projection, stream)


@settings(deadline=None, database=None)
@given(todo=deeds, data=st.data())
def test_states_that_come_twice_or_late_change_nothing(todo: list[tuple[str, int]], data: st.DataObject) -> None:
    stream = Stream()
    for deed, choice in todo:
        stream.do_something(deed, choice)
    projection = Projection()
    for index, message in enumerate(stream.messages):
        projection.apply(*message)
        changes = projection.changes
        projection.apply(*stream.messages[data.draw(st.integers(0, index))])
        assert projection.changes == changes
    assert_exact(projection, stream)


def test_positions_stay_exact_among_many() -> None:
    chance = random.Random(7)
    stream = Stream()
    for _ in range(3000):
        stream.do_something(chance.choice(DEEDS), chance.randrange(10**6))
    assert len(stream.in_line) > 100
    assert_exact(projected(stream), stream)


def test_low_waits_behind_every_normal_request_however_late_that_comes() -> None:
    stream = Stream()
    low = stream.submit("small", PRIORITY_LOW)
    lower = stream.submit("small", PRIORITY_LOW)
    normal = stream.submit("small", PRIORITY_NORMAL)
    stream.submit("large", PRIORITY_NORMAL)
    projection = projected(stream)
    assert [projection.position(key) for key in (normal, low, lower)] == [0, 1, 2]


@pytest.mark.parametrize("priority", [PRIORITY_NORMAL, PRIORITY_LOW])
def test_a_released_request_waits_at_its_old_place(priority: Priority.ValueType) -> None:
    stream = Stream()
    first, second, third = (stream.submit("small", priority) for _ in range(3))
    stream.claim(first)
    stream.claim(second)
    assert projected(stream).position(third) == 0
    stream.release(second)
    stream.release(first)
    projection = projected(stream)
    assert [projection.position(key) for key in (first, second, third)] == [0, 1, 2]


def test_only_those_who_wait_for_a_worker_have_a_position() -> None:
    stream = Stream()
    running, done, gone = (stream.submit("small", PRIORITY_NORMAL) for _ in range(3))
    stream.claim(running)
    stream.claim(done)
    stream.complete(done)
    stream.cancel(gone)
    projection = projected(stream)
    unknown = RequestKey("t", str(uuid.uuid4()))
    assert [projection.position(key) for key in (running, done, gone, unknown)] == [None] * 4


def test_a_held_request_stands_in_its_tenants_own_line_until_it_is_queued() -> None:
    stream, projection = Stream(), Projection()
    first, low, second = [
        states.held(Record(tenant="held", request_id=str(uuid.uuid4()), endpoint="small", priority=priority), now=NOW)
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW, PRIORITY_NORMAL)
    ]
    for seq, record in enumerate((first, low, second), 1):
        projection.apply(key_of(record), seq, record)
    assert [projection.position(key_of(record)) for record in (first, second, low)] == [0, 1, 2]
    assert projection.first_held("held") == key_of(first)
    assert projection.usage("held") == (3, 0, 3, 0)
    other = stream.submit("small", PRIORITY_NORMAL)
    projection.apply(other, 4, stream.latest[other])
    assert projection.position(other) == 0
    projection.apply(key_of(first), 5, states.admitted(first))
    assert projection.position(key_of(first)) == 1
    assert [projection.position(key_of(record)) for record in (second, low)] == [0, 1]
    assert projection.usage("held") == (3, 1, 2, 0)
    assert list(projection.by_tenant["held"].values()) == [key_of(record) for record in (first, low, second)]


def test_only_the_running_attempts_progress_is_kept() -> None:
    stream, projection = Stream(), Projection()
    key = stream.submit("small", PRIORITY_NORMAL)

    def hear() -> None:
        for message in stream.messages:
            projection.apply(*message)

    hear()
    projection.apply_progress(key, Progress(attempt=1, step=1))
    assert key not in projection.progress
    stream.claim(key)
    hear()
    projection.apply_progress(key, Progress(attempt=1, step=2))
    assert projection.progress[key].step == 2
    stream.claim(key)  # taken over
    hear()
    assert key not in projection.progress
    projection.apply_progress(key, Progress(attempt=1, step=3))
    assert key not in projection.progress
    projection.apply_progress(key, Progress(attempt=2, step=1))
    stream.complete(key)
    hear()
    assert key not in projection.progress


def test_a_request_submitted_anew_under_an_old_id_is_a_new_one() -> None:
    stream, projection = Stream(), Projection()
    old = stream.submit("small", PRIORITY_NORMAL)
    other = stream.submit("small", PRIORITY_NORMAL)
    stream.claim(old)
    for message in stream.messages:
        projection.apply(*message)
    anew = states.queued(Record(tenant=old.tenant, request_id=old.request_id, endpoint="small"), now=NOW)
    projection.apply(old, 9, anew)  # its end and its erasure were not heard of
    assert list(projection.by_tenant["t"].values()) == [other, old]
    assert projection.usage("t") == (2, 2, 0, 0)
