"""What callers were promised: results, acknowledgements, and calls that fail only so that they can be repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from jobs.record_pb2 import State
from tests.chaos.evidence import Evidence, StoredState
from tests.chaos.history import CallError, Cancellation, Fetch, History, Submission
from tests.chaos.request_rules import QUEUED, Requests, name_of
from tests.chaos.violation import Violation

AFTER_WHICH_ONE_TRIES_AGAIN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
TOO_LATE = "FAILED_PRECONDITION"
"""What a cancel of a request that has ended is refused with."""


def result_violations(requests: Requests, evidence: Evidence, history: History) -> Iterator[Violation]:
    """Each completed request's video is there and whole, is what callers fetched, and no other video is."""
    fetches: defaultdict[str, list[Fetch]] = defaultdict(list)
    for fetch in history.of(Fetch):
        fetches[fetch.request_id].append(fetch)
    named = set()
    for request_id, states in requests.items():
        if states[-1].record.state == State.STATE_COMPLETED:
            named.add(states[-1].record.output.object_key)
            yield from _result(request_id, states[-1], evidence, fetches[request_id])
        elif fetches[request_id]:
            yield Violation("only completed requests have results", request_id, name_of(states[-1]))
    for video in evidence.videos:
        if video.key not in named:
            yield Violation("no orphan outlives the sweep", "", video.key)


def _result(
    request_id: str, completed: StoredState, evidence: Evidence, fetches: Sequence[Fetch]
) -> Iterator[Violation]:
    output = completed.record.output
    promised = (output.video.video.file_size, output.video.sha256)
    stored = next((video for video in evidence.videos if video.key == output.object_key), None)
    if stored is None:
        yield Violation("a result is readable", request_id, f"no object {output.object_key}")
    elif (stored.size_bytes, stored.sha256) != promised:
        yield Violation("a result is whole", request_id, f"{stored.size_bytes} bytes for {promised[0]}")
    if f"/{request_id}/{completed.record.attempt}/" not in output.object_key:
        yield Violation("a result is its attempt's own", request_id, output.object_key)
    for fetch in fetches:
        if (fetch.size_bytes, fetch.sha256) != promised:
            yield Violation("a result is whole", request_id, f"{fetch.size_bytes} bytes fetched")


def acknowledgement_violations(requests: Requests, history: History) -> Iterator[Violation]:
    """What was acknowledged is on record: submissions and cancellations."""
    for submission in history.of(Submission):
        if submission.request_id not in requests:
            yield Violation("acknowledged means on disk", submission.request_id, f"by {submission.replica}")
    for cancellation in history.of(Cancellation):
        states = requests.get(cancellation.request_id, ())
        if states and states[-1].record.state != State.STATE_CANCELLED:
            yield Violation("an acknowledged cancel decides", cancellation.request_id, name_of(states[-1]))


def repeat_violations(requests: Requests, history: History) -> Iterator[Violation]:
    """However often a submission was repeated, there is one request for its key, queued once."""
    ids_by_key: defaultdict[str, set[str]] = defaultdict(set)
    for submission in history.of(Submission):
        if submission.idempotency_key is not None:
            ids_by_key[submission.idempotency_key].add(submission.request_id)
    for request_id, states in requests.items():
        first = states[0].record.submission
        if first.HasField("idempotency_key"):
            ids_by_key[first.idempotency_key].add(request_id)
        if sum(state.record.state == QUEUED for state in states) > 1:
            yield Violation("a request is queued once", request_id, ", ".join(map(name_of, states)))
    for key, ids in ids_by_key.items():
        if len(ids) > 1:
            yield Violation("one key makes one request", "", f"{key}: {', '.join(sorted(ids))}")


def call_violations(requests: Requests, history: History) -> Iterator[Violation]:
    """Calls fail only in ways after which they can be repeated; nothing acknowledged is ever unknown."""
    for error in history.of(CallError):
        if error.code in AFTER_WHICH_ONE_TRIES_AGAIN:
            continue
        states = requests.get(error.request_id, ())
        too_late = bool(states) and states[-1].record.state in {State.STATE_COMPLETED, State.STATE_FAILED}
        if error.method == "Cancel" and error.code == TOO_LATE and too_late:
            continue
        seen = f"{error.method} at {error.replica}: {error.code}: {error.message}"
        yield Violation("a call fails only so that it can be repeated", error.request_id, seen)
