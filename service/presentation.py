"""How a record looks to its caller: internal states folded, object keys turned into URLs."""

from __future__ import annotations

from collections.abc import Callable

from cogreel.v1.queue_pb2 import LogLine, Progress, RequestStatus, WatchStatusResponse, WebhookDelivery
from cogreel.v1.video_pb2 import VideoOutput
from google.protobuf.timestamp_pb2 import Timestamp

from files import ObjectStore
from jobs import cursor, states
from jobs.cards import input_of
from jobs.cursor import Place
from jobs.merge import EntryEvent, Event, StateEvent, TruncatedEvent
from jobs.record_pb2 import Record, State
from jobs.watch import CheckpointEvent, PositionEvent
from jobs.webhooks import first_word

_TITLE_CHARACTERS = 80


def status_of(
    record: Record,
    *,
    position: int | None = None,
    progress: Progress | None = None,
    webhook: WebhookDelivery | None = None,
) -> RequestStatus:
    """A record as its caller sees it."""
    text = input_of(record.submission)
    return RequestStatus(
        request_id=record.request_id,
        endpoint=record.endpoint,
        state=states.PUBLIC[record.state],
        priority=record.priority,
        position=position if record.state in states.WAITING else None,
        attempt=record.attempt,
        max_attempts=record.max_attempts,
        progress=progress if record.state == State.STATE_RUNNING else None,
        failure=record.failure if record.HasField("failure") else None,
        failed_attempts=record.failed_attempts,
        queued_time=record.queued_time,
        started_time=record.started_time if record.HasField("started_time") else None,
        finished_time=record.finished_time if record.HasField("finished_time") else None,
        worker=record.worker.name,
        seed=text.seed,
        held=record.state == State.STATE_HELD,
        title=_title(text.prompt),
        webhook=webhook,
    )


def presigned_outputs(store: ObjectStore, *, validity_s: int) -> Callable[[Record], VideoOutput]:
    """Gives the result of a completed request, with a URL that works for `validity_s` from then on."""

    def output_of(record: Record) -> VideoOutput:
        video = VideoOutput()
        video.CopyFrom(record.output.video)
        video.video.url = store.presign_get(
            record.output.object_key, validity_s, file_name=video.video.file_name, content_type="video/mp4"
        )
        return video

    return output_of


def lines_of(entries: list[EntryEvent | TruncatedEvent]) -> tuple[list[LogLine], bool]:
    """The log lines among entries, and whether older ones have expired."""
    lines = [e.entry.line for e in entries if isinstance(e, EntryEvent) and e.entry.HasField("line")]
    return lines, any(isinstance(e, TruncatedEvent) for e in entries)


def _title(prompt: str) -> str:
    """The beginning of a prompt, on one line."""
    line = " ".join(prompt.split())
    return line if len(line) <= _TITLE_CHARACTERS else f"{line[: _TITLE_CHARACTERS - 1].rstrip()}…"


def latest_progress(entries: list[EntryEvent | TruncatedEvent]) -> Progress | None:
    """The last step or stage among entries."""
    steps = (e.entry.progress for e in reversed(entries) if isinstance(e, EntryEvent) and e.entry.HasField("progress"))
    return next(steps, None)


def response_to(
    event: Event | PositionEvent | CheckpointEvent,
    *,
    request_id: str,
    stream_created: int,
    position: Callable[[], int | None],
) -> WatchStatusResponse:
    """An event as it goes over the wire, with the cursor that resumes after it."""
    response = WatchStatusResponse(cursor=_cursor(event.place, request_id, stream_created))
    match event:
        case StateEvent(record=record):
            response.state.CopyFrom(status_of(record, position=position(), webhook=first_word(record)))
            response.time.CopyFrom(_moment_of(record))
        case EntryEvent(entry=entry):
            response.time.CopyFrom(entry.time)
            if entry.HasField("line"):
                response.log.CopyFrom(entry.line)
            else:
                response.progress.CopyFrom(entry.progress)
        case TruncatedEvent(attempt=attempt):
            response.log_truncated.attempt = attempt
            response.time.GetCurrentTime()
        case PositionEvent(position=place_in_line):
            response.position.position = place_in_line
            response.time.GetCurrentTime()
        case CheckpointEvent():
            response.checkpoint.SetInParent()
            response.time.GetCurrentTime()
    return response


def _cursor(place: Place, request_id: str, stream_created: int) -> str:
    return cursor.encode(place, request_id=request_id, stream_created=stream_created)


def _moment_of(record: Record) -> Timestamp:
    if record.HasField("finished_time"):
        return record.finished_time
    if record.HasField("started_time"):
        return record.started_time
    return record.queued_time
