"""After a cancel is acknowledged, its request stops running within a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from jobs.record_pb2 import State
from tests.chaos.evidence import StoredEntry
from tests.chaos.history import Cancellation, Fault, History, WorkerPace
from tests.chaos.request_rules import Requests
from tests.chaos.violation import Violation

SCHEDULING_S = 1.0
"""What a busy machine may take to run a process that is ready."""
HEARTBEAT_WAY_S = 5.0 + 2.0 + 2.0 + 5.0
"""Heartbeat, its time-out, a reconnect and an election: the way by which a cancel whose message was lost arrives."""


def cancel_violations(requests: Requests, entries: Sequence[StoredEntry], history: History) -> Iterator[Violation]:
    """No steps later than a step and a second after the cancel.

    The message that stops the worker may get lost when the broker, the service that sends it or the worker is being
    disturbed; then the heartbeat stops it, which is what is asked for from the end of that disturbance on.
    """
    paces = {pace.name: pace.step_s for pace in history.of(WorkerPace)}
    slowest_s = max(paces.values(), default=0.0)
    steps: defaultdict[str, list[StoredEntry]] = defaultdict(list)
    for entry in entries:
        if entry.entry.HasField("progress"):
            steps[entry.subject.split(".")[2]].append(entry)
    faults = history.of(Fault)
    for cancellation in history.of(Cancellation):
        running = {
            state.record.attempt: state.record.worker.name
            for state in requests.get(cancellation.request_id, ())
            if state.record.state == State.STATE_RUNNING
        }
        for step in steps[cancellation.request_id.replace("-", "")]:
            at = step.entry.time.ToNanoseconds() / 1e9
            worker = running.get(step.entry.attempt, "")
            allowed_until = cancellation.at + paces.get(worker, slowest_s) + SCHEDULING_S
            if at <= allowed_until:
                continue
            for fault in faults:
                concerned = fault.role in {"broker", "service"} or _machine(fault.target) == _machine(worker)
                if concerned and fault.at <= at and fault.until >= cancellation.at - SCHEDULING_S:
                    allowed_until = max(allowed_until, fault.until + HEARTBEAT_WAY_S)
            if at > allowed_until:
                late_s = at - cancellation.at
                seen = f"attempt {step.entry.attempt} on {worker} made a step {late_s:.2f} s after the answer"
                yield Violation("a cancelled request stops within a step", cancellation.request_id, seen)
                break


def _machine(name: str) -> str:
    """A worker's machine, which its supervisor is called; the worker itself is called machine/device."""
    return name.partition("/")[0]
