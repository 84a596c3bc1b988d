"""What a watch tells: one small type for each kind of event, made from the contract's messages.

States, stages and levels are names rather than enumerations, so that what a newer service adds still has a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.descriptor import EnumDescriptor

from cogreel.v1.queue_pb2 import LogLevel, RequestState, RequestStatus, Stage, WatchStatusResponse

TERMINAL_STATES = frozenset(
    {
        RequestState.REQUEST_STATE_COMPLETED,
        RequestState.REQUEST_STATE_FAILED,
        RequestState.REQUEST_STATE_CANCELLED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    cursor: str
    """Where to resume: `watch(request_id, cursor=...)` goes on after this update."""

    time: datetime
    """When it happened, by the clock of the service (UTC)."""

    raw: WatchStatusResponse = field(repr=False, compare=False)
    """The message of the contract that this was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate(_Update):
    """The request has a new state, or a new attempt."""

    status: RequestStatus
    """All that is known at this moment."""

    @property
    def state(self) -> str:
        """QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED."""
        return state_name(self.status)

    @property
    def is_terminal(self) -> bool:
        """Whether the request has ended, so that no update follows."""
        return self.status.state in TERMINAL_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionUpdate(_Update):
    """The request has a new place in the queue."""

    position: int
    """Number of requests that will be taken before this one; 0 is next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressUpdate(_Update):
    """The running attempt has done a step, or has begun a stage."""

    attempt: int
    """The attempt that this speaks of, counted from 1."""

    stage: str
    """prepare, denoise, decode, interpolate, encode or upload."""

    step: int
    """Number of steps done in the stage."""

    total: int
    """Number of steps of the stage; 0 where it has none."""

    eta_s: float | None
    """Estimated seconds until the end of the stage; None where it cannot be estimated yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogUpdate(_Update):
    """The running attempt has written a log line."""

    attempt: int
    """The attempt that wrote it, counted from 1."""

    level: str
    """debug, info, warn or error."""

    message: str
    """The line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTruncatedUpdate(_Update):
    """Some steps and log lines before this point have expired."""

    attempt: int
    """The attempt that they belonged to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewUpdate(_Update):
    """A small picture of the work in progress."""

    attempt: int
    """The attempt that it belongs to."""

    step: int
    """The denoising step that it shows."""

    content_type: str
    """MIME type of `data`."""

    data: bytes = field(repr=False)
    """The picture."""


Update = StateUpdate | PositionUpdate | ProgressUpdate | LogUpdate | LogTruncatedUpdate | PreviewUpdate


def state_name(status: RequestStatus) -> str:
    """The state as a word: QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED."""
    return _word(RequestState.DESCRIPTOR, status.state)


def stage_name(stage: int) -> str:
    """The stage as a word in lower case, such as `denoise`."""
    return _word(Stage.DESCRIPTOR, stage).lower()


def level_name(level: int) -> str:
    """The log level as a word in lower case, such as `info`."""
    return _word(LogLevel.DESCRIPTOR, level).lower()


def update_from_message(message: WatchStatusResponse) -> Update | None:  # noqa: PLR0911 - one return for each event
    """The update that a message carries; None for a checkpoint, and for kinds of event that a newer service adds."""
    cursor = message.cursor
    time = message.time.ToDatetime(tzinfo=UTC)
    match message.WhichOneof("event"):
        case "state":
            return StateUpdate(cursor=cursor, time=time, raw=message, status=message.state)
        case "position":
            return PositionUpdate(cursor=cursor, time=time, raw=message, position=message.position.position)
        case "progress":
            progress = message.progress
            return ProgressUpdate(
                cursor=cursor,
                time=time,
                raw=message,
                attempt=progress.attempt,
                stage=stage_name(progress.stage),
                step=progress.step,
                total=progress.total,
                eta_s=progress.eta.ToTimedelta().total_seconds() if progress.HasField("eta") else None,
            )
        case "log":
            return LogUpdate(
                cursor=cursor,
                time=time,
                raw=message,
                attempt=message.log.attempt,
                level=level_name(message.log.level),
                message=message.log.message,
            )
        case "log_truncated":
            return LogTruncatedUpdate(cursor=cursor, time=time, raw=message, attempt=message.log_truncated.attempt)
        case "preview":
            preview = message.preview
            return PreviewUpdate(
                cursor=cursor,
                time=time,
                raw=message,
                attempt=preview.attempt,
                step=preview.step,
                content_type=preview.content_type,
                data=preview.data,
            )
        case _:
            return None


def _word(enum: EnumDescriptor, number: int) -> str:
    """The name of a value without the prefix that all values of its enum share; its number if it is not known."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    common_prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(common_prefix)


def queue_place(position: int | None, *, held: bool = False) -> str:
    """What a queued request waits for, in words. A held one is not in the endpoint's line yet."""
    if held:
        place = f"{position} of your own before it" if position else "next of your own"
        return "held by your limit of running requests" + (f", {place}" if position is not None else "")
    if position is None:
        return "waiting for a worker"
    return f"{position} ahead" if position else "next in line"
