"""How requests look in the protocol: three words for their states, and the URLs under which they are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

from cogreel.updates import level_name, stage_name
from cogreel.v1.queue_pb2 import LogLine, Progress, RequestState, RequestStatus

from hosted.failures import CANCELLED, ending_of

_NAMESPACES = frozenset({"workflows", "comfy"})


@dataclass(frozen=True, slots=True)
class RequestUrls:
    """Where a request is found: without a query, which the Python client would replace."""

    origin: str
    endpoint: str
    """As it stands in the path; only its first two parts, owner and app, go into the URLs."""

    def of(self, request_id: str) -> dict[str, object]:
        """The keys that name a request, in every answer about it."""
        request = f"{self.origin}/{app_of(self.endpoint)}/requests/{request_id}"
        return {
            "request_id": request_id,
            "response_url": request,
            "status_url": f"{request}/status",
            "cancel_url": f"{request}/cancel",
        }


def app_of(endpoint: str) -> str:
    """The part of an endpoint's name under which its requests are found: owner/app, behind a namespace if any."""
    parts = endpoint.split("/")
    return "/".join(parts[: 3 if parts[0] in _NAMESPACES else 2])


def status_json(status: RequestStatus, urls: RequestUrls, logs: Sequence[LogLine] | None) -> dict[str, object]:
    """A status. `logs` None were not asked for; the clients need the key all the same."""
    body = urls.of(status.request_id)
    lines = [_log_json(line) for line in logs] if logs is not None else None
    match status.state:
        case RequestState.REQUEST_STATE_QUEUED:
            more = {"logs": lines} if lines else {}  # of an earlier attempt
            return {"status": "IN_QUEUE", "queue_position": status.position, **body, **more}
        case RequestState.REQUEST_STATE_RUNNING:
            return {"status": "IN_PROGRESS", "logs": lines, **body, "progress": _progress_json(status.progress)}
        case _:
            return {"status": "COMPLETED", "logs": lines, "metrics": _metrics(status), **body, **_failure_json(status)}


def is_over(status: RequestStatus) -> bool:
    """Whether nothing more will happen to a request."""
    return status.state not in {RequestState.REQUEST_STATE_QUEUED, RequestState.REQUEST_STATE_RUNNING}


def _failure_json(status: RequestStatus) -> dict[str, object]:
    if status.state == RequestState.REQUEST_STATE_COMPLETED:
        return {}
    ending = CANCELLED if status.state == RequestState.REQUEST_STATE_CANCELLED else ending_of(status.failure)
    return {"error": ending.message, "error_type": ending.error_type}


def _metrics(status: RequestStatus) -> dict[str, object]:
    """Seconds from the beginning of the last attempt to the end; nothing where none had begun."""
    if not (status.HasField("started_time") and status.HasField("finished_time")):
        return {}
    taken = status.finished_time.ToDatetime() - status.started_time.ToDatetime()
    return {"inference_time": round(taken.total_seconds(), 3)}


def _progress_json(progress: Progress) -> dict[str, object] | None:
    """How far a running request is: what the hosted API does not say. Its clients leave unknown keys alone."""
    if not progress.attempt:
        return None
    eta = progress.eta.ToTimedelta().total_seconds() if progress.HasField("eta") else None
    return {"stage": stage_name(progress.stage), "step": progress.step, "total": progress.total, "eta": eta}


def _log_json(line: LogLine) -> dict[str, object]:
    return {
        "message": line.message,
        "timestamp": line.time.ToDatetime(tzinfo=UTC).isoformat(),
        "level": level_name(line.level).upper(),
        "source": "USER",
    }
