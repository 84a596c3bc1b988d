"""A small campaign made up by hand, to be doctored in the tests of the checker."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace

from cogreel.v1.queue_pb2 import (
    PRIORITY_LOW,
    PRIORITY_NORMAL,
    STAGE_DENOISE,
    LogLine,
    Progress,
    Stage,
    SubmitRequest,
)

from jobs.record_pb2 import LogEntry, Record, State
from tests.chaos.checker import check
from tests.chaos.evidence import Evidence, StoredEntry, StoredState, StoredVideo
from tests.chaos.history import (
    CallError,
    Cancellation,
    Fault,
    Fetch,
    History,
    Submission,
    WatchEvent,
    WorkerPace,
)
from tests.chaos.watch_rules import PUBLIC_NAMES

T0 = 1_800_000_000
ONE, TWO = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
TENANT = base64.b32encode(b"tester").decode().rstrip("=").lower()
VIDEO = b"a video"
SHA256 = hashlib.sha256(VIDEO).hexdigest()
STEPS = 3


class Story:
    """A small campaign in which all is well: two requests, the first watched to its end, the second cancelled.

    Times are seconds after T0, and equal to the sequences of REQ.
    """

    def __init__(self) -> None:
        self.states: list[StoredState] = []
        self.entries: list[StoredEntry] = []
        self.videos = [StoredVideo(video_key(ONE, 2), len(VIDEO), SHA256)]
        self.submissions = [Submission(T0 + 1, "a", ONE, "key", False), Submission(T0 + 2, "b", TWO, None, False)]
        self.cancellations = [Cancellation(T0 + 6, "a", TWO)]
        self.errors = [CallError(T0, "a", "Submit", "", "UNAVAILABLE", "connection refused")]
        self.fetches = [Fetch(T0 + 9, ONE, len(VIDEO), SHA256)]
        self.faults = [Fault(T0 + 3, T0 + 4, "kill", "device", "worker-0/simulated")]
        self.watch: list[WatchEvent] = []
        self._states()
        self._watch_one()

    def _states(self) -> None:
        self.state(1, ONE, State.STATE_QUEUED, key="key")
        self.state(2, TWO, State.STATE_QUEUED, priority=PRIORITY_LOW)
        self.state(3, ONE, State.STATE_RUNNING, 1, "first")
        self.attempt(ONE, 1, 3.0, steps=2)
        self.state(4, ONE, State.STATE_RUNNING, 2, "second", log_seq=len(self.entries))
        self.attempt(ONE, 2, 4.0, steps=STEPS)
        self.state(5, TWO, State.STATE_RUNNING, 1, "first")
        self.attempt(TWO, 1, 5.0, steps=STEPS)
        self.state(6, TWO, State.STATE_CANCELLED, 1, "first", log_seq=len(self.entries))
        self.state(7, ONE, State.STATE_COMPLETED, 2, "second", log_seq=len(self.entries))

    def state(
        self,
        seq: int,
        request_id: str,
        state: State.ValueType,
        attempt: int = 0,
        worker: str = "",
        *,
        log_seq: int = 0,
        key: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Add a state of a request; what is not said is as in its last one."""
        known = [stored.record for stored in self.states if stored.record.request_id == request_id]
        record = Record(tenant="tester", request_id=request_id, endpoint="e", priority=PRIORITY_NORMAL, max_attempts=3)
        if known:
            record.CopyFrom(known[-1])
        if priority is not None:
            record.priority = PRIORITY_LOW
        if key is not None:
            record.submission.CopyFrom(SubmitRequest(idempotency_key=key))
        record.state, record.attempt, record.log_seq = state, attempt, max(log_seq, record.log_seq)
        record.worker.incarnation, record.worker.name = worker, "worker-0/simulated"
        moment = {State.STATE_QUEUED: record.queued_time, State.STATE_RUNNING: record.started_time}
        if state != State.STATE_RELEASED:
            moment.get(state, record.finished_time).FromSeconds(T0 + seq)
        if state == State.STATE_COMPLETED:
            record.output.object_key = video_key(request_id, attempt)
            record.output.video.sha256 = SHA256
            record.output.video.video.file_size = len(VIDEO)
        name = State.Name(state).removeprefix("STATE_")
        subject = f"req.{TENANT}.{request_id.replace('-', '')}.st.{name}"
        self.states.append(StoredState(seq, T0 + seq, subject, record))

    def attempt(self, request_id: str, attempt: int, at: float, *, steps: int) -> None:
        """Add the lines of an attempt: one of text, then the steps from 0 on, 10 ms apart."""
        entries = [LogEntry(line=LogLine(attempt=attempt, message="begins"))]
        entries += [
            LogEntry(progress=Progress(attempt=attempt, stage=STAGE_DENOISE, step=step, total=STEPS))
            for step in range(steps + 1)
        ]
        for number, entry in enumerate(entries, 1):
            entry.attempt, entry.number = attempt, number
            self.entry(request_id, entry, at + number / 100)

    def entry(self, request_id: str, entry: LogEntry, at: float) -> None:
        """Add a line."""
        entry.time.FromNanoseconds(int((T0 + at) * 1e9))
        seq = len(self.entries) + 1
        self.entries.append(StoredEntry(seq, T0 + at, f"log.{TENANT}.{request_id.replace('-', '')}", entry))

    def _watch_one(self) -> None:
        """What a watcher of the first request sees, in two streams."""
        mine = [state for state in self.states if state.record.request_id == ONE]
        for state in mine:
            self.see_state(state, position=0 if state.record.state == State.STATE_QUEUED else None)
            if state.record.state == State.STATE_RUNNING:
                for stored in self.entries:
                    if ONE.replace("-", "") in stored.subject and stored.entry.attempt == state.record.attempt:
                        self.see_entry(stored)
        half = len(self.watch) // 2
        self.watch[half:] = [replace(event, stream=1, replica="b") for event in self.watch[half:]]

    def see_state(self, state: StoredState, position: int | None = None) -> None:
        """The watcher is told a state."""
        record = state.record
        moment = record.queued_time if record.state == State.STATE_QUEUED else record.started_time
        if record.HasField("finished_time"):
            moment = record.finished_time
        event = self._seen(state.stored_at, "state", moment.ToNanoseconds(), record.attempt)
        self.watch.append(replace(event, state=PUBLIC_NAMES[record.state], position=position))

    def see_entry(self, stored: StoredEntry) -> None:
        """The watcher is told a step or a line."""
        entry = stored.entry
        event = self._seen(stored.stored_at, "log", entry.time.ToNanoseconds(), entry.attempt)
        if entry.HasField("line"):
            self.watch.append(replace(event, line=entry.line.message))
            return
        steps = entry.progress
        named = replace(event, kind="progress", stage=Stage.Name(steps.stage), step=steps.step, total=steps.total)
        self.watch.append(named)

    def see_position(self, at: float, position: int, request_id: str = ONE) -> None:
        """A watcher is told a place in the queue."""
        event = replace(self._seen(T0 + at, "position", 0, 0), position=position)
        self.watch.append(replace(event, request_id=request_id, watcher=f"of {request_id}"))

    def _seen(self, at: float, kind: str, event_ns: int, attempt: int) -> WatchEvent:
        return WatchEvent(at + 0.001, "watcher", 0, "a", ONE, "c", kind, event_ns, attempt)

    def change(self, seq: int, edit: Callable[[Record], None]) -> None:
        """Edit the record at a sequence of REQ."""
        for stored in self.states:
            if stored.seq == seq:
                edit(stored.record)

    def history(self) -> History:
        """What was seen."""
        history = History()
        kinds: tuple[list[Submission] | list[Cancellation] | list[CallError] | list[Fetch] | list[Fault], ...] = (
            self.submissions,
            self.cancellations,
            self.errors,
            self.fetches,
            self.faults,
        )
        for kind in kinds:
            for event in kind:
                history.add(event)
        for seen in self.watch:
            history.add(seen)
        history.add(WorkerPace("worker-0/simulated", 0.01))
        return history

    def evidence(self) -> Evidence:
        """What is on disk."""
        return Evidence(sorted(self.states, key=lambda state: state.seq), self.entries, self.videos)

    def broken_rules(self) -> set[str]:
        """What the checker says."""
        return {violation.rule for violation in check(self.history(), self.evidence())}


def video_key(request_id: str, attempt: int) -> str:
    """Where an attempt's video lies."""
    return f"videos/{TENANT}/{request_id}/{attempt}/1.mp4"
