"""The checker accepts a history in which all is well, and refuses each doctored one for the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cogreel.v1.queue_pb2 import PRIORITY_LOW, STAGE_DENOISE, Failure, Progress

from jobs.record_pb2 import LogEntry, State
from tests.chaos.evidence import Evidence, StoredVideo
from tests.chaos.history import CallError, Cancellation, Fault, Fetch, History, Submission, WatchEvent
from tests.chaos.story import ONE, STEPS, T0, TWO, Story, video_key

Doctor = Callable[[Story], None]
POSITIONS = "positions are true and in order"


def test_a_history_in_which_all_is_well_is_accepted() -> None:
    assert Story().broken_rules() == set()


def test_lines_that_came_too_late_for_their_attempt_may_be_seen_or_not() -> None:
    story = Story()
    late = LogEntry(attempt=1, number=5, progress=Progress(attempt=1, stage=STAGE_DENOISE, step=3, total=STEPS))
    story.entry(ONE, late, 4.5)
    assert story.broken_rules() == set()
    first_of_two = next(index for index, event in enumerate(story.watch) if event.attempt == 2)
    told = len(story.watch)
    story.see_entry(story.entries[-1])
    story.watch.insert(first_of_two, story.watch.pop(told))
    assert story.broken_rules() == set()


def test_places_that_grow_by_a_higher_priority_or_a_hand_back_are_accepted() -> None:
    story = Story()
    story.states.clear()
    story.watch.clear()
    story.state(1, TWO, State.STATE_QUEUED, priority=PRIORITY_LOW)
    story.state(2, ONE, State.STATE_QUEUED)
    story.state(3, ONE, State.STATE_RUNNING, 1, "first")
    story.state(4, ONE, State.STATE_RELEASED, 1, "first")
    story.state(5, ONE, State.STATE_RUNNING, 2, "first")
    for at, position in ((1.5, 0), (2.5, 1), (3.5, 0), (4.5, 1), (5.5, 0)):
        story.see_position(at, position, TWO)
    assert POSITIONS not in story.broken_rules()


def test_steps_after_a_cancel_are_forgiven_while_the_broker_was_being_disturbed() -> None:
    story = Story()
    _run_on_after_the_cancel(story)
    story.faults.append(Fault(T0 + 5.5, T0 + 8, "pause", "broker", "broker"))
    assert story.broken_rules() == set()


def _run_on_after_the_cancel(story: Story) -> None:
    late = Progress(attempt=1, stage=STAGE_DENOISE, step=STEPS, total=STEPS)
    story.entry(TWO, LogEntry(attempt=1, number=STEPS + 3, progress=late), 8.0)


def _two_ends(story: Story) -> None:
    story.state(8, TWO, State.STATE_FAILED, 1, "first")


def _no_end(story: Story) -> None:
    story.states.pop()
    story.fetches.clear()
    story.videos.clear()
    story.watch.pop()


def _begins_running(story: Story) -> None:
    del story.states[1]


def _forbidden_step(story: Story) -> None:
    story.state(8, TWO, State.STATE_QUEUED)
    story.states[-1] = replace(story.states[-1], seq=5)
    story.states = [state for state in story.states if state.seq != 5 or state.record.state == State.STATE_QUEUED]


def _foreign_subject(story: Story) -> None:
    story.states[2] = replace(story.states[2], subject=story.states[2].subject.replace("RUNNING", "RELEASED"))


def _same_attempt_twice(story: Story) -> None:
    story.change(4, lambda record: setattr(record, "attempt", 1))


def _attempt_shrinks(story: Story) -> None:
    story.change(7, lambda record: setattr(record, "attempt", 1))


def _failure_forgotten(story: Story) -> None:
    story.change(4, lambda record: record.failed_attempts.append(Failure(message="lost")))


def _too_many_failures(story: Story) -> None:
    story.change(7, lambda record: record.failed_attempts.extend([Failure()] * 4))


def _zombie_wrote(story: Story) -> None:
    story.change(7, lambda record: setattr(record.worker, "incarnation", "first"))


def _result_is_gone(story: Story) -> None:
    story.videos.clear()


def _result_is_cut(story: Story) -> None:
    story.videos[0] = replace(story.videos[0], size_bytes=3)


def _caller_got_another(story: Story) -> None:
    story.fetches[0] = replace(story.fetches[0], sha256="0" * 64)


def _result_of_another_attempt(story: Story) -> None:
    story.change(7, lambda record: setattr(record.output, "object_key", video_key(ONE, 1)))
    story.videos[0] = replace(story.videos[0], key=video_key(ONE, 1))


def _result_of_a_cancelled_request(story: Story) -> None:
    story.fetches.append(Fetch(T0 + 9, TWO, 1, ""))


def _orphan(story: Story) -> None:
    story.videos.append(StoredVideo(video_key(ONE, 1), 1, ""))


def _acknowledged_and_lost(story: Story) -> None:
    story.submissions.append(Submission(T0, "a", TWO.replace("2", "3"), None, False))


def _one_key_two_requests(story: Story) -> None:
    story.change(2, lambda record: setattr(record.submission, "idempotency_key", "key"))


def _queued_twice(story: Story) -> None:
    story.state(9, ONE, State.STATE_QUEUED)


def _cancel_came_to_nothing(story: Story) -> None:
    story.cancellations.append(Cancellation(T0 + 3, "b", ONE))


def _watcher_missed_a_step(story: Story) -> None:
    del story.watch[4]


def _watcher_saw_a_step_twice(story: Story) -> None:
    story.watch.insert(5, replace(story.watch[4], stream=1))


def _watcher_saw_another_order(story: Story) -> None:
    story.watch[3], story.watch[4] = story.watch[4], story.watch[3]


def _watcher_missed_a_state(story: Story) -> None:
    del story.watch[1]


def _watcher_saw_more_after_the_end(story: Story) -> None:
    story.watch.append(story.watch[-1])


def _watcher_never_saw_the_end(story: Story) -> None:
    del story.watch[-1]


def _watcher_was_told_of_a_gap(story: Story) -> None:
    story.watch.insert(5, replace(story.watch[4], kind="log_truncated"))


def _watcher_of_nothing(story: Story) -> None:
    story.watch.append(replace(story.watch[0], watcher="other", request_id=TWO.replace("2", "3")))


def _negative_place(story: Story) -> None:
    story.see_position(2.5, -1, TWO)


def _place_grew(story: Story) -> None:
    story.see_position(3.5, 0, TWO)
    story.see_position(3.6, 1, TWO)


def _place_before_its_time(story: Story) -> None:
    story.see_position(2.5, 0, TWO)


def _call_failed_for_good(story: Story) -> None:
    story.errors.append(CallError(T0 + 9, "a", "GetResult", ONE, "NOT_FOUND", "no request"))


def _cancel_refused_for_nothing(story: Story) -> None:
    story.errors.append(CallError(T0 + 9, "a", "Cancel", TWO, "FAILED_PRECONDITION", "is COMPLETED already"))


@pytest.mark.parametrize(
    ("doctor", "rule"),
    [
        (_two_ends, "a request has exactly one terminal state"),
        (_two_ends, "nothing follows a terminal state"),
        (_no_end, "a request has exactly one terminal state"),
        (_begins_running, "a request begins by being queued"),
        (_forbidden_step, "a state leads to the next"),
        (_foreign_subject, "a state's subject tells its record"),
        (_same_attempt_twice, "each RUNNING is the next attempt"),
        (_attempt_shrinks, "attempts only grow"),
        (_failure_forgotten, "failed attempts are never forgotten"),
        (_too_many_failures, "no more attempts fail than are allowed"),
        (_zombie_wrote, "no zombie writes"),
        (_result_is_gone, "a result is readable"),
        (_result_is_cut, "a result is whole"),
        (_caller_got_another, "a result is whole"),
        (_result_of_another_attempt, "a result is its attempt's own"),
        (_result_of_a_cancelled_request, "only completed requests have results"),
        (_orphan, "no orphan outlives the sweep"),
        (_acknowledged_and_lost, "acknowledged means on disk"),
        (_one_key_two_requests, "one key makes one request"),
        (_queued_twice, "a request is queued once"),
        (_cancel_came_to_nothing, "an acknowledged cancel decides"),
        (_run_on_after_the_cancel, "a cancelled request stops within a step"),
        (_watcher_missed_a_step, "a watch has no gap, no duplicate and one order"),
        (_watcher_saw_a_step_twice, "a watch has no gap, no duplicate and one order"),
        (_watcher_saw_another_order, "a watch has no gap, no duplicate and one order"),
        (_watcher_missed_a_state, "a watch has no gap, no duplicate and one order"),
        (_watcher_saw_more_after_the_end, "a watch has no gap, no duplicate and one order"),
        (_watcher_was_told_of_a_gap, "a watch has no gap, no duplicate and one order"),
        (_watcher_never_saw_the_end, "a watch reaches the end of its request"),
        (_watcher_of_nothing, "a watcher sees what is on record"),
        (_negative_place, POSITIONS),
        (_place_grew, POSITIONS),
        (_place_before_its_time, POSITIONS),
        (_call_failed_for_good, "a call fails only so that it can be repeated"),
        (_cancel_refused_for_nothing, "a call fails only so that it can be repeated"),
    ],
)
def test_a_doctored_history_is_refused(doctor: Doctor, rule: str) -> None:
    story = Story()
    doctor(story)
    assert rule in story.broken_rules()


def test_history_and_evidence_survive_their_files(tmp_path: Path) -> None:
    story = Story()
    story.history().dump(tmp_path / "history.jsonl")
    again = History.load(tmp_path / "history.jsonl")
    assert again.of(WatchEvent) == story.watch
    assert again.of(Submission) == story.submissions
    assert again.of(Fault) == story.faults
    story.evidence().dump(tmp_path / "evidence.jsonl")
    assert Evidence.load(tmp_path / "evidence.jsonl") == story.evidence()
