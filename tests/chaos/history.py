"""What callers, watchers and the campaign itself saw, as they saw it: the one side that the checker compares.

Plain data in memory, which can be written to a file as JSON lines and read back. Times are seconds since 1970 by the
clock of the machine, which all processes of a campaign share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, cast


@dataclass(frozen=True, slots=True)
class Submission:
    """An acknowledged `Submit`. `existing` is what the answer said; the key is None where none was sent."""

    at: float
    replica: str
    request_id: str
    idempotency_key: str | None
    existing: bool


@dataclass(frozen=True, slots=True)
class Cancellation:
    """An acknowledged `Cancel`; `at` is when the answer arrived."""

    at: float
    replica: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CallError:
    """A call that failed: its method, its gRPC code by name, and the reason that came with it.

    `request_id` is empty for a `Submit`, which has none yet.
    """

    at: float
    replica: str
    method: str
    request_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A message of a watch.

    `watcher` names one reader of one request from its beginning, over all its streams; `stream` counts those from 0.
    `kind` is the field that was set: state, position, progress, log, log_truncated or checkpoint, and what belongs to
    other kinds is left at its default. `event_ns` is the time that the event itself carries, in ns since 1970.
    """

    at: float
    watcher: str
    stream: int
    replica: str
    request_id: str
    cursor: str
    kind: str
    event_ns: int
    attempt: int = 0
    state: str = ""
    position: int | None = None
    stage: str = ""
    step: int = 0
    total: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A result that was fetched by its URL, whole as far as HTTP told."""

    at: float
    request_id: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something done to a process: kill, pause, restart or failpoint. `until` is when it was seen to be over.

    `role` is service, device, supervisor, broker or store, and `target` the name of the process.
    """

    at: float
    until: float
    action: str
    role: str
    target: str


@dataclass(frozen=True, slots=True)
class WorkerPace:
    """How long a worker sleeps a denoising step; `name` is what its records call it."""

    name: str
    step_s: float


Event = Submission | Cancellation | CallError | WatchEvent | Fetch | Fault | WorkerPace
_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Submission, Cancellation, CallError, WatchEvent, Fetch, Fault, WorkerPace)
}
_E = TypeVar("_E", Submission, Cancellation, CallError, WatchEvent, Fetch, Fault, WorkerPace)


class History:
    """Events in the order in which they were noted."""

    def __init__(self) -> None:
        self._events: defaultdict[type[object], list[Event]] = defaultdict(list)

    def add(self, event: Event) -> None:
        """Note an event."""
        self._events[type(event)].append(event)

    def of(self, kind: type[_E]) -> list[_E]:
        """All events of a kind."""
        return cast("list[_E]", self._events[kind])

    def dump(self, path: Path) -> None:
        """Write all events as JSON lines, kind by kind."""
        with path.open("w", encoding="utf-8") as file:
            for kind, events in self._events.items():
                for event in events:
                    file.write(json.dumps({"kind_of_event": kind.__name__} | asdict(event)) + "\n")

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `dump` wrote."""
        history = cls()
        with path.open(encoding="utf-8") as file:
            for text in file:
                fields = json.loads(text)
                history.add(_KINDS[fields.pop("kind_of_event")](**fields))
        return history
