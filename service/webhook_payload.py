"""What a webhook says, in the words of the hosted service: its receivers need not know whose service calls them.

A result has the shape of the hosted model's output. What failed by its input has a body of validation errors under 422;
all else has a text and an error type. A cancelled request is told as 499, which the hosted service says of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus

from cogreel.v1.queue_pb2 import (
    FAILURE_REASON_DEVICE,
    FAILURE_REASON_INPUT_UNAVAILABLE,
    FAILURE_REASON_INVALID_INPUT,
    FAILURE_REASON_LEASE_LOST,
    FAILURE_REASON_START_TIMEOUT,
    Failure,
)
from cogreel.v1.video_pb2 import Timings, VideoOutput

from jobs.record_pb2 import Record, State

CLIENT_CLOSED_REQUEST = 499  # of no standard; what the hosted service says of cancelled requests

_INPUT_ERRORS = {FAILURE_REASON_INVALID_INPUT: "value_error", FAILURE_REASON_INPUT_UNAVAILABLE: "file_download_error"}
# 500 rather than the hosted 503 for what failed for good: clients repeat on 503.
_OTHER_ERRORS = {
    FAILURE_REASON_START_TIMEOUT: (HTTPStatus.GATEWAY_TIMEOUT, "request_timeout"),
    FAILURE_REASON_LEASE_LOST: (HTTPStatus.INTERNAL_SERVER_ERROR, "runner_server_error"),
    FAILURE_REASON_DEVICE: (HTTPStatus.INTERNAL_SERVER_ERROR, "runner_server_error"),
}
_FILES = {"image": "image_url", "video": "video_url"}


def webhook_body(record: Record, output_of: Callable[[Record], VideoOutput]) -> bytes:
    """The body of the POST for a request that has ended; `output_of` gives its result, with a URL made for this."""
    told: dict[str, object] = {"request_id": record.request_id, "gateway_request_id": record.request_id}
    if record.state == State.STATE_COMPLETED:
        told |= {"status": "OK", "payload": _result(output_of(record))}
    else:
        status, payload = _error(record)
        told |= {"status": "ERROR", "error": f"Invalid status code: {status}", "payload": payload}
    return json.dumps(told).encode()


def _result(output: VideoOutput) -> dict[str, object]:
    video = output.video
    return {
        "video": {
            "url": video.url,
            "content_type": video.content_type,
            "file_name": video.file_name,
            "file_size": video.file_size,
        },
        "timings": _timings(output.timings),
        "seed": output.seed,
        "prompt": output.prompt,
    }


def _timings(timings: Timings) -> dict[str, float]:
    """Seconds by stage; `inference` is the hosted name of denoising."""
    seconds = {stage.name: duration.ToMilliseconds() / 1000 for stage, duration in timings.ListFields()}
    return {"inference": seconds.get("denoise", 0.0)} | seconds


def _error(record: Record) -> tuple[int, dict[str, object]]:
    if record.state == State.STATE_CANCELLED:
        return CLIENT_CLOSED_REQUEST, {"detail": "The request was cancelled.", "error_type": "client_cancelled"}
    failure = record.failure
    if failure.reason in _INPUT_ERRORS:
        found = {"loc": _location(failure), "msg": failure.message, "type": _INPUT_ERRORS[failure.reason]}
        return HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": [found]}
    internal = (HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error")
    status, kind = _OTHER_ERRORS.get(failure.reason, internal)
    return int(status), {"detail": failure.message, "error_type": kind}


def _location(failure: Failure) -> list[str | int]:
    """Where the hosted schema has a field: `image_to_video.image.url` is `image_url` there."""
    _kind, *parts = re.findall(r"[^.\[\]]+", failure.field) or [""]
    if parts[:1] == ["text"]:
        parts = parts[1:]
    elif parts[:1] and parts[0] in _FILES:
        parts = [_FILES[parts[0]]]
    return ["body", *(int(part) if part.isdecimal() else part for part in parts)]
