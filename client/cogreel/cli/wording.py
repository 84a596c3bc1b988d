"""How things read: durations, sizes, updates, statuses. Text only; `live_view` and `plain_view` place it."""

from __future__ import annotations

from datetime import UTC

from cogreel.updates import (
    LogTruncatedUpdate,
    LogUpdate,
    PositionUpdate,
    PreviewUpdate,
    ProgressUpdate,
    StateUpdate,
    Update,
    level_name,
    queue_place,
    stage_name,
    state_name,
)
from cogreel.v1.queue_pb2 import Failure, LogLine, RequestState, RequestStatus, WebhookDelivery
from cogreel.v1.video_pb2 import ModelVersion, Timings, VideoOutput


def duration(seconds: float) -> str:
    """Such as `3.1 s`, `42 s` or `2 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """A number of bytes, such as `1.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def printable(text: str) -> str:
    """Text from elsewhere on one line, without the characters that steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def waiting(status: RequestStatus) -> str:
    """What a queued request waits for."""
    position = status.position if status.HasField("position") else None
    return queue_place(position, held=status.held)


def place(status: RequestStatus) -> str:
    """Where a request runs, for which time; empty before it has run."""
    if not status.attempt:
        return ""
    worker = f"on {printable(status.worker)}, " if status.worker else ""
    return f"{worker}attempt {status.attempt} of {status.max_attempts}"


def failed_attempt(failure: Failure) -> str:
    """Why an attempt failed."""
    return f"attempt {failure.attempt} failed: {printable(failure.message)}"


def state(status: RequestStatus) -> str:
    """Where a request stands, in a line."""
    match status.state:
        case RequestState.REQUEST_STATE_QUEUED:
            again = " again" if status.attempt else ""
            return f"queued{again}, {waiting(status)}"
        case RequestState.REQUEST_STATE_RUNNING:
            return f"running{' ' if status.worker else ', '}{place(status)}"
        case RequestState.REQUEST_STATE_FAILED:
            return f"failed: {printable(status.failure.message)}"
        case _:
            return state_name(status).lower()


def steps(stage: str, step: int, total: int, eta_s: float | None) -> str:
    """How far a stage is."""
    count = f" {step}/{total}" if total else ""
    left = f", {duration(eta_s)} left" if eta_s is not None else ""
    return f"{stage}{count}{left}"


def update_line(update: Update, *, held: bool = False) -> str | None:
    """An update in a line; None where there is nothing to read. `held` is what the latest status said."""
    match update:
        case StateUpdate(status=status):
            # Why there is another attempt; at the end, the failure itself says what counts.
            earlier = [] if update.is_terminal else map(failed_attempt, status.failed_attempts[-1:])
            return " - ".join([state(status), *earlier])
        case PositionUpdate(position=position):
            return queue_place(position, held=held)
        case ProgressUpdate():
            return steps(update.stage, update.step, update.total, update.eta_s)
        case LogUpdate():
            return _log_text(update.level, update.message)
        case LogTruncatedUpdate():
            return "some earlier steps and log lines have expired"
        case PreviewUpdate():
            return None


def log_line(line: LogLine) -> str:
    """A line of a request's log, with its local time."""
    time = line.time.ToDatetime(tzinfo=UTC).astimezone()
    return f"{time:%H:%M:%S} {_log_text(level_name(line.level), line.message)}"


def _log_text(level: str, message: str) -> str:
    return printable(message) if level == "info" else f"{level}: {printable(message)}"


def status_rows(status: RequestStatus) -> list[tuple[str, str]]:
    """A status as label and value, a row each."""
    rows = [("request", status.request_id)]
    if status.title:
        rows.append(("prompt", printable(status.title)))
    rows += [("endpoint", status.endpoint), ("state", state(status))]
    if status.HasField("progress"):
        progress = status.progress
        eta_s = progress.eta.ToTimedelta().total_seconds() if progress.HasField("eta") else None
        rows.append(("progress", steps(stage_name(progress.stage), progress.step, progress.total, eta_s)))
    rows.append(("seed", str(status.seed)))
    rows.extend(("earlier", failed_attempt(failure)) for failure in status.failed_attempts)
    times = {"queued": status.queued_time, "started": status.started_time, "finished": status.finished_time}
    rows.extend((label, moment.ToJsonString()) for label, moment in times.items() if moment.seconds)
    if status.HasField("webhook"):
        rows.append(("webhook", _webhook(status.webhook)))
    return rows


def _webhook(webhook: WebhookDelivery) -> str:
    tries = f"after {webhook.attempts} {'try' if webhook.attempts == 1 else 'tries'}"
    if webhook.delivered:
        return f"delivered {tries}"
    if not webhook.attempts:
        return "not sent yet"
    problem = printable(webhook.problem)
    if webhook.given_up:
        return f"given up {tries}: {problem}"
    return f"not delivered {tries}: {problem}; again at {webhook.next_time.ToJsonString()}"


def video_rows(request_id: str, video: VideoOutput) -> list[tuple[str, str]]:
    """A result as label and value, a row each."""
    picture = f"{video.size.width} × {video.size.height}, {video.frames} frames at {video.fps} fps"
    if video.native_size != video.size:
        picture += f", scaled from {video.native_size.width} × {video.native_size.height}"
    return [
        ("request", request_id),
        ("seed", str(video.seed)),
        ("video", f"{picture}, {size(video.video.file_size)}"),
        ("model", _model(video.model)),
        ("timings", timings(video.timings)),
    ]


def _model(model: ModelVersion) -> str:
    named = f"{model.name} {model.revision}".strip()
    return named if model.profile in {"", "exact"} else f"{named} ({model.profile})"


def timings(spent: Timings) -> str:
    """Where the time went, stage by stage."""
    return " · ".join(
        f"{field.name} {duration(value.ToTimedelta().total_seconds())}" for field, value in spent.ListFields()
    )


def table(rows: list[tuple[str, str]]) -> str:
    """Rows with their values aligned."""
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)
