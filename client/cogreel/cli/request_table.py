"""Requests in rows: a table for people, lines of fields for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cogreel.cli.wording import duration, printable, state, steps
from cogreel.updates import TERMINAL_STATES, stage_name, state_name
from cogreel.v1.queue_pb2 import RequestState, RequestStatus

_STYLES = {
    RequestState.REQUEST_STATE_QUEUED: "yellow",
    RequestState.REQUEST_STATE_RUNNING: "cyan",
    RequestState.REQUEST_STATE_COMPLETED: "green",
    RequestState.REQUEST_STATE_FAILED: "red",
    RequestState.REQUEST_STATE_CANCELLED: "dim",
}


def fields_line(status: RequestStatus) -> str:
    """A request as fields between tabs. The order is part of the command's interface: new fields go to the end."""
    times = (status.queued_time, status.started_time, status.finished_time)
    return "\t".join(
        [
            status.request_id,
            state_name(status),
            printable(status.endpoint) or "-",
            *(moment.ToJsonString() if moment.seconds else "-" for moment in times),
            printable(status.title) or "-",
        ]
    )


def print_table(requests: Sequence[RequestStatus], console: Console | None = None) -> None:
    """Print requests as a table, as wide as the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("REQUEST", no_wrap=True)
    table.add_column("STATE")  # what may wrap is what gives way on a narrow terminal; its cells are cut instead
    table.add_column("QUEUED", no_wrap=True)
    table.add_column("TOOK", no_wrap=True, justify="right")
    has_endpoints = len({status.endpoint for status in requests}) > 1
    if has_endpoints:
        table.add_column("ENDPOINT")
    table.add_column("PROMPT")
    now = datetime.now(UTC)
    for status in requests:
        table.add_row(
            Text(status.request_id),
            _cut(_state(status), _STYLES.get(status.state, "")),
            Text(_local(status.queued_time, now)),
            Text(_took(status, now)),
            *([_cut(printable(status.endpoint))] if has_endpoints else []),
            _cut(printable(status.title)),
        )
    (console or Console(highlight=False)).print(table)


def _cut(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _state(status: RequestStatus) -> str:
    if status.state == RequestState.REQUEST_STATE_RUNNING and status.progress.stage:
        return steps(stage_name(status.progress.stage), status.progress.step, status.progress.total, None)
    if status.state == RequestState.REQUEST_STATE_RUNNING:
        return "running"
    return state(status)


def _local(moment: Timestamp, now: datetime) -> str:
    """Such as `14:03:59` for today, `31 Jan 14:03` for this year, `2025-01-31` before."""
    local, today = moment.ToDatetime(tzinfo=UTC).astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%d %b %H:%M}" if local.year == today.year else f"{local:%Y-%m-%d}"


def _took(status: RequestStatus, now: datetime) -> str:
    """How long the attempt that runs or ran last took so far."""
    if not status.started_time.seconds or status.state == RequestState.REQUEST_STATE_QUEUED:
        return ""
    began = status.started_time.ToDatetime(tzinfo=UTC)
    ended = status.finished_time.ToDatetime(tzinfo=UTC) if status.state in TERMINAL_STATES else now
    return duration(max((ended - began).total_seconds(), 0.0))
