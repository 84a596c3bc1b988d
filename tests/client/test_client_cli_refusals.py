"""The command, where the service refuses: what it says, what it advises, and what it ends with."""

from __future__ import annotations

import grpc
import pytest
from cogreel.cli.exit_codes import ExitCode
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from tests.client.command import run
from tests.client.scripted_service import REQUEST_ID, Refuse, ScriptedService, event, status

RETRY = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=29, nanos=500_000_000))
RESOURCE = error_details_pb2.ResourceInfo(resource_type="request", resource_name="another")


@pytest.mark.parametrize(
    ("refusal", "exit_code", "advice"),
    [
        (Refuse(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"), ExitCode.NOT_ALLOWED, "COGREEL_API_KEY"),
        (Refuse(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"), ExitCode.NOT_ALLOWED, "another role"),
        (
            Refuse(grpc.StatusCode.NOT_FOUND, "ENDPOINT_NOT_FOUND", metadata=(("endpoints", "small, big"),)),
            ExitCode.NOT_FOUND,
            "small, big",
        ),
        (
            Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", details=(RETRY,)),
            ExitCode.LIMIT_EXCEEDED,
            "again in 30 s",
        ),
        (
            Refuse(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "LIMIT_EXCEEDED",
                metadata=(("limit", "stored_bytes"),),
                details=(RETRY,),
            ),
            ExitCode.LIMIT_EXCEEDED,
            "erase",
        ),
        (
            Refuse(grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT", details=(RESOURCE,)),
            ExitCode.CONFLICT,
            "another",
        ),
        (
            Refuse(grpc.StatusCode.INTERNAL, "INTERNAL", metadata=(("incident", "abc123"),)),
            ExitCode.UNEXPECTED,
            "abc123",
        ),
        (Refuse(grpc.StatusCode.UNIMPLEMENTED), ExitCode.NOT_SERVED, "different versions"),
        (Refuse(grpc.StatusCode.UNAVAILABLE, "QUEUE_UNAVAILABLE"), ExitCode.UNAVAILABLE, "--idempotency-key"),
    ],
    ids=lambda value: value.reason or value.code.name if isinstance(value, Refuse) else "",
)
def test_refused_submissions(garden: ScriptedService, refusal: Refuse, exit_code: ExitCode, advice: str) -> None:
    garden.answer("Submit", refusal)
    told = run(garden, "submit", "a garden", timeout_s="0.2")
    assert told.exit_code == exit_code
    assert "scripted" in told.stderr
    assert advice in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("command", "refusal", "exit_code", "advice"),
    [
        ("result", Refuse(PRECONDITION, "REQUEST_NOT_FINISHED"), ExitCode.NOT_FINISHED, "cogreel watch"),
        ("result", Refuse(PRECONDITION, "REQUEST_FAILED"), ExitCode.REQUEST_FAILED, "submit it again"),
        ("result", Refuse(PRECONDITION, "REQUEST_CANCELLED"), ExitCode.REQUEST_CANCELLED, "submit it again"),
        ("cancel", Refuse(PRECONDITION, "REQUEST_COMPLETED"), ExitCode.ALREADY_FINISHED, "cogreel status"),
        ("status", Refuse(grpc.StatusCode.NOT_FOUND, "REQUEST_NOT_FOUND"), ExitCode.NOT_FOUND, "tenant"),
        ("watch", Refuse(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED"), ExitCode.CURSOR_INVALID, "cogreel watch"),
    ],
    ids=lambda value: value.reason if isinstance(value, Refuse) else "",
)
def test_refusals_about_a_request(
    garden: ScriptedService, command: str, refusal: Refuse, exit_code: ExitCode, advice: str
) -> None:
    methods = {"result": "GetResult", "cancel": "Cancel", "status": "GetStatus", "watch": "WatchStatus"}
    garden.answer(methods[command], refusal)
    told = run(garden, command, REQUEST_ID)
    assert told.exit_code == exit_code
    assert advice in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("state", "reason", "exit_code"),
    [
        ("FAILED", "REQUEST_FAILED", ExitCode.REQUEST_FAILED),
        ("CANCELLED", "REQUEST_CANCELLED", ExitCode.REQUEST_CANCELLED),
    ],
)
def test_watch_ends_as_the_request_did(garden: ScriptedService, state: str, reason: str, exit_code: ExitCode) -> None:
    garden.answer("WatchStatus", event("c1", state=status(state)))
    garden.answer("GetResult", Refuse(PRECONDITION, reason, "out of memory"))
    told = run(garden, "watch", REQUEST_ID)
    assert told.exit_code == exit_code
    assert "out of memory" in told.stderr
