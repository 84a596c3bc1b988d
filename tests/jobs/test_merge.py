"""The order of events: the same for every reader, whatever arrives first, however often, and wherever it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from cogreel.v1.queue_pb2 import LogLine
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cursor import Place
from jobs.merge import EntryEvent, Event, EventMerge, StateEvent, TruncatedEvent
from jobs.record_pb2 import LogEntry, State
from jobs.states import TERMINAL
from tests.jobs.histories import History, Storyteller, histories

thoroughly = settings(max_examples=120, deadline=None, database=None)

Told = tuple[str, int]
"""A state or a line by its sequence, or what was truncated by its attempt."""


def named(events: Iterable[Event]) -> list[Told]:
    """Events by what they tell, without their places."""
    names: list[Told] = []
    for event in events:
        match event:
            case StateEvent(place=place):
                names.append(("state", place.req_seq))
            case EntryEvent(place=place):
                names.append(("line", place.log_seq))
            case TruncatedEvent(attempt=attempt):
                names.append(("truncated", attempt))
    return names


def defined_order(history: History) -> list[Told]:
    """What a reader must be told, by the definition: after each RUNNING its attempt's lines up to the next state."""
    present = {seq for seq, _ in history.lines}
    told: list[Told] = []
    for index, (seq, record) in enumerate(history.states):
        told.append(("state", seq))
        if record.state != State.STATE_RUNNING:
            continue
        following = history.states[index + 1][1] if index + 1 < len(history.states) else None
        number = 0
        for line_seq, entry in history.lines:
            within = record.log_seq < line_seq and (following is None or line_seq <= following.log_seq)
            if entry.attempt != record.attempt or not within:
                continue
            if entry.number != number + 1:
                told.append(("truncated", record.attempt))
            told.append(("line", line_seq))
            number = entry.number
        if following is not None and following.log_seq > record.log_seq and following.log_seq not in present:
            told.append(("truncated", record.attempt))
    return told


def read_from(history: History, place: Place) -> list[Event]:
    """All events after a place, as for a reader who comes when all is over; lines before it may come again."""
    merge = EventMerge(place)
    for seq, record in history.states:
        if seq >= place.req_seq:
            merge.push_state(seq, record)
    for seq, entry in history.lines:
        merge.push_entry(seq, entry)
    return list(merge.ready(history.log_end))


@dataclass(frozen=True, slots=True)
class Live:
    """A reader's run: the events, and for each the number of states that had arrived when it was told."""

    events: list[Event]
    states_arrived: list[int]


def read_live(history: History, data: st.DataObject, *, late_lines_last: bool) -> Live:
    """The events for a reader to whom both streams come in any order relative to each other, some of it twice.

    With `late_lines_last`, no line comes before the state that made it too late.
    """
    merge = EventMerge(Place())
    run = Live([], [])
    states_in, lines_in = 0, 0

    def look(log_position: int) -> None:
        for event in merge.ready(log_position):
            run.events.append(event)
            run.states_arrived.append(states_in)

    def position() -> int:
        return history.lines[lines_in][0] - 1 if lines_in < len(history.lines) else history.log_end

    while states_in < len(history.states) or lines_in < len(history.lines):
        line_next = lines_in < len(history.lines) and (states_in == len(history.states) or data.draw(st.booleans()))
        if line_next and late_lines_last:
            line_next = history.superseded_by.get(history.lines[lines_in][0], 0) < states_in
        if line_next:
            merge.push_entry(*history.lines[lines_in])
            lines_in += 1
        else:
            merge.push_state(*history.states[states_in])
            states_in += 1
        if states_in and data.draw(st.booleans()):
            merge.push_state(*history.states[data.draw(st.integers(0, states_in - 1))])
        if lines_in and data.draw(st.booleans()):
            merge.push_entry(*history.lines[data.draw(st.integers(0, lines_in - 1))])
        if data.draw(st.booleans()):
            look(data.draw(st.sampled_from((0, position()))))
    look(history.log_end)
    return run


def lines_of_one_attempt(count: int, *, then: str) -> Storyteller:
    teller = Storyteller()
    teller.do("claim", 0)
    for _ in range(count):
        teller.do("line", 0)
    teller.do(then, 0)
    return teller


@thoroughly
@given(histories())
def test_a_late_reader_is_told_everything_in_the_defined_order(history: History) -> None:
    assert named(read_from(history, Place())) == defined_order(history)


@thoroughly
@given(history=histories(), data=st.data())
def test_any_interleaving_with_any_repetition_gives_the_same_events(history: History, data: st.DataObject) -> None:
    assert named(read_live(history, data, late_lines_last=True).events) == defined_order(history)


@thoroughly
@given(history=histories(expiry=False), data=st.data())
def test_a_line_of_an_old_attempt_is_told_only_to_those_who_saw_it_before_its_successor(
    history: History, data: st.DataObject
) -> None:
    run = read_live(history, data, late_lines_last=False)
    late = {("line", seq): index for seq, index in history.superseded_by.items()}
    names = named(run.events)
    assert [name for name in names if name not in late] == defined_order(history)
    for name, arrived in zip(names, run.states_arrived, strict=True):
        assert arrived <= late.get(name, arrived)
    assert len(set(names)) == len(names)


@thoroughly
@given(histories())
def test_going_on_from_any_event_gives_exactly_the_rest(history: History) -> None:
    events = read_from(history, Place())
    for index, event in enumerate(events):
        assert read_from(history, event.place) == events[index + 1 :]


@thoroughly
@given(history=histories(expiry=False), data=st.data())
def test_a_live_reader_can_go_on_elsewhere_from_any_event(history: History, data: st.DataObject) -> None:
    events = read_live(history, data, late_lines_last=False).events
    late = {("line", seq) for seq in history.superseded_by}
    for index, event in enumerate(events):
        rest = [name for name in named(events[index + 1 :]) if name not in late]
        assert named(read_from(history, event.place)) == rest


@thoroughly
@given(
    count=st.integers(1, 12),
    then=st.sampled_from(("complete", "cancel", "release", "take over", "others")),
    data=st.data(),
)
def test_missing_lines_in_a_row_are_told_once_and_where_they_were(count: int, then: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first, count - 1))
    if then == "others":  # the request still runs, so lines after the last one may yet come
        last = min(last, count - 2)
    history = lines_of_one_attempt(count, then=then).history(frozenset(range(first, last + 1)))
    missing = [("truncated", 1)] if first <= last else []
    lines: list[Told] = [("line", seq) for seq in range(1, count + 1)]
    expected = [*lines[:first], *missing, *lines[max(first, last + 1) :]]
    assert [name for name in named(read_from(history, Place())) if name[0] != "state"] == expected


@thoroughly
@given(history=histories(), data=st.data())
def test_lines_that_expire_while_nobody_reads_are_told_as_truncated(history: History, data: st.DataObject) -> None:
    events = read_from(history, Place())
    seen = data.draw(st.integers(0, len(events) - 1))
    expired = data.draw(st.integers(0, history.log_end))
    left = tuple(line for line in history.lines if line[0] > expired)
    shorter = History(history.states, left, history.superseded_by, history.log_end)
    rest = named(read_from(shorter, events[seen].place))
    still_there = {("line", seq) for seq, _ in left}
    assert [n for n in rest if n[0] != "truncated"] == [
        n for n in named(events[seen + 1 :]) if n[0] == "state" or n in still_there
    ]
    assert all(before != after for before, after in pairwise(rest))


def test_a_state_waits_for_the_lines_before_it() -> None:
    history = lines_of_one_attempt(3, then="complete").history(frozenset())
    merge = EventMerge(Place())
    for state in history.states:
        merge.push_state(*state)
    assert named(merge.ready(0)) == [("state", 1), ("state", 2)]
    merge.push_entry(*history.lines[0])
    assert named(merge.ready(1)) == [("line", 1)]
    assert not merge.finished
    assert named(merge.ready(2)) == []
    for line in history.lines[1:]:
        merge.push_entry(*line)
    assert named(merge.ready(3)) == [("line", 2), ("line", 3), ("state", 3)]
    assert merge.finished


def test_a_line_that_was_stored_twice_is_told_once() -> None:
    """The server knows a repeat by its id for two minutes only: after a longer outage it stores it again."""
    history = lines_of_one_attempt(2, then="others").history(frozenset())
    merge = EventMerge(Place())
    for state in history.states:
        merge.push_state(*state)
    again = LogEntry(attempt=1, number=2, line=LogLine(attempt=1, message="line 2 of attempt 1"))
    third = LogEntry(attempt=1, number=3, line=LogLine(attempt=1, message="line 3 of attempt 1"))
    for seq, entry in (*history.lines, (3, again), (4, third)):
        merge.push_entry(seq, entry)
    assert named(merge.ready(4)) == [("state", 1), ("state", 2), ("line", 1), ("line", 2), ("line", 4)]


def test_a_lost_line_of_an_attempt_that_was_over_is_not_told_as_truncated() -> None:
    teller = lines_of_one_attempt(2, then="release")
    teller.do("old line", 0)  # its worker had not stopped yet
    teller.do("claim", 0)
    teller.do("complete", 0)
    without = teller.history(frozenset({2}))
    events = read_from(without, Place())
    states: list[Told] = [("state", seq) for seq in range(1, 6)]
    assert named(events) == [*states[:2], ("line", 1), ("line", 2), *states[2:]]
    for index, event in enumerate(events):
        assert read_from(without, event.place) == events[index + 1 :]


@thoroughly
@given(history=histories(), data=st.data())
def test_only_a_terminal_state_ends_a_reading(history: History, data: st.DataObject) -> None:
    merge = EventMerge(Place())
    for state in history.states:
        merge.push_state(*state)
    for line in history.lines:
        merge.push_entry(*line)
    events = list(merge.ready(history.log_end))
    assert merge.finished == (history.states[-1][1].state in TERMINAL)
    assert merge.place == events[-1].place or not merge.finished
