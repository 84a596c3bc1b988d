"""What a watch has told so far, as a person wants to see it: the stages of the current attempt and their times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cogreel.updates import TERMINAL_STATES, PositionUpdate, ProgressUpdate, StateUpdate, Update
from cogreel.v1.queue_pb2 import RequestState, RequestStatus

STAGES = ("prepare", "denoise", "decode", "interpolate", "encode", "upload")
"""In the order in which they happen."""


@dataclass(slots=True)
class Span:
    """A stretch of time, by the clock of the service."""

    began: datetime
    ended: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it lasts."""
        return (self.ended - self.began).total_seconds() if self.ended is not None else None


@dataclass(slots=True)
class Timeline:
    """The course of a request, folded from its updates."""

    status: RequestStatus | None = None
    """As of the last change of state; None before the first."""

    position: int | None = None
    """The latest place in the queue."""

    progress: ProgressUpdate | None = None
    """The latest step of the current attempt."""

    queue: Span | None = None
    """The latest wait for a worker."""

    stages: dict[str, Span] = field(default_factory=dict)
    """The stages of the current attempt that have begun, in order."""

    def apply(self, update: Update) -> None:
        """Take an update in."""
        match update:
            case StateUpdate():
                self._change_state(update)
            case PositionUpdate(position=position):
                self.position = position
            case ProgressUpdate():
                self._begin_stage(update.stage, update.time)
                self.progress = update
            case _:
                pass

    @property
    def has_ended(self) -> bool:
        """Whether the request has reached a terminal state."""
        return self.status is not None and self.status.state in TERMINAL_STATES

    @property
    def broke_off(self) -> bool:
        """Whether the request has ended without a video."""
        return self.has_ended and self.status is not None and self.status.state != RequestState.REQUEST_STATE_COMPLETED

    def _change_state(self, update: StateUpdate) -> None:
        before, status = self.status, update.status
        self.status = status
        self.position = status.position if status.HasField("position") else None
        waits = status.state == RequestState.REQUEST_STATE_QUEUED
        if waits:
            self.queue = Span(update.time)
        elif self.queue is not None and self.queue.ended is None:
            self.queue.ended = update.time
        # An attempt that a drained worker gave back keeps its number, and still begins anew.
        if waits or (before is not None and before.attempt != status.attempt):
            self.stages.clear()
            self.progress = None
        if update.is_terminal:
            self._end_stage(update.time)

    def _begin_stage(self, stage: str, time: datetime) -> None:
        if stage not in self.stages:
            self._end_stage(time)
            self.stages[stage] = Span(time)

    def _end_stage(self, time: datetime) -> None:
        for span in self.stages.values():
            if span.ended is None:
                span.ended = time
