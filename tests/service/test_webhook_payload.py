"""What webhooks say of each failure, in the words of the hosted service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cogreel.v1.queue_pb2 import (
    FAILURE_REASON_DEVICE,
    FAILURE_REASON_INPUT_UNAVAILABLE,
    FAILURE_REASON_INTERNAL,
    FAILURE_REASON_INVALID_INPUT,
    FAILURE_REASON_LEASE_LOST,
    FAILURE_REASON_START_TIMEOUT,
    FAILURE_REASON_STORE,
    Failure,
    FailureReason,
)
from cogreel.v1.video_pb2 import VideoOutput

from jobs.record_pb2 import Record, State
from service.webhook_payload import webhook_body


def no_output(_: Record) -> VideoOutput:
    raise AssertionError("there is none")


def told(failure: Failure) -> dict[str, Any]:
    record = Record(request_id="r", state=State.STATE_FAILED, failure=failure)
    said: dict[str, Any] = json.loads(webhook_body(record, no_output))
    return said


@pytest.mark.parametrize(
    ("reason", "status", "kind"),
    [
        (FAILURE_REASON_START_TIMEOUT, 504, "request_timeout"),
        (FAILURE_REASON_LEASE_LOST, 500, "runner_disconnected"),
        (FAILURE_REASON_DEVICE, 500, "runner_server_error"),
        (FAILURE_REASON_STORE, 500, "internal_error"),
        (FAILURE_REASON_INTERNAL, 500, "internal_error"),
        (99, 500, "internal_error"),
    ],
)
def test_what_is_no_fault_of_the_input_has_a_text_and_a_type(
    reason: FailureReason.ValueType, status: int, kind: str
) -> None:
    assert told(Failure(reason=reason, message="why")) == {
        "request_id": "r",
        "gateway_request_id": "r",
        "status": "ERROR",
        "error": f"Invalid status code: {status}",
        "payload": {"detail": "why", "error_type": kind},
    }


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(FAILURE_REASON_INVALID_INPUT, "value_error"), (FAILURE_REASON_INPUT_UNAVAILABLE, "file_download_error")],
)
@pytest.mark.parametrize(
    ("field", "location"),
    [
        ("", ["body"]),
        ("text_to_video.prompt", ["body", "prompt"]),
        ("text_to_video.loras[0].path", ["body", "loras", 0, "path"]),
        ("image_to_video.text.prompt", ["body", "prompt"]),
        ("image_to_video.image.url", ["body", "image_url"]),
        ("video_to_video.video", ["body", "video_url"]),
        ("video_to_video.strength", ["body", "strength"]),
    ],
)
def test_a_fault_of_the_input_is_told_at_the_field_of_the_hosted_schema(
    reason: FailureReason.ValueType, kind: str, field: str, location: list[str | int]
) -> None:
    if field.endswith("image.url") and reason == FAILURE_REASON_INVALID_INPUT:
        kind = "image_load_error"
    said = told(Failure(reason=reason, message="why", field=field))
    assert said["error"] == "Invalid status code: 422"
    assert said["payload"] == {"detail": [{"loc": location, "msg": "why", "type": kind}]}
