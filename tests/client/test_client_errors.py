"""Errors of the service become exceptions with one meaning each."""

from __future__ import annotations

import pickle
from datetime import timedelta

import cogreel
import grpc
import pytest
from cogreel.error_details import decode_details
from cogreel.errors import ErrorDetails, typed_error
from cogreel.v1.errors_pb2 import ErrorReason
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from tests.client.scripted_service import Refuse


def error_of(refusal: Refuse) -> cogreel.CogReelError:
    trailing = [("x-other", "1"), ("grpc-status-details-bin", refusal.status().SerializeToString())]
    return typed_error(decode_details(refusal.code, refusal.message, trailing))


MEANINGS = {
    "INVALID_INPUT": (grpc.StatusCode.INVALID_ARGUMENT, cogreel.InvalidInputError),
    "UNAUTHENTICATED": (grpc.StatusCode.UNAUTHENTICATED, cogreel.AuthenticationError),
    "PERMISSION_DENIED": (grpc.StatusCode.PERMISSION_DENIED, cogreel.PermissionDeniedError),
    "REQUEST_NOT_FOUND": (grpc.StatusCode.NOT_FOUND, cogreel.NotFoundError),
    "ENDPOINT_NOT_FOUND": (grpc.StatusCode.NOT_FOUND, cogreel.NotFoundError),
    "FILE_NOT_FOUND": (grpc.StatusCode.NOT_FOUND, cogreel.NotFoundError),
    "IDEMPOTENCY_CONFLICT": (grpc.StatusCode.ALREADY_EXISTS, cogreel.IdempotencyConflictError),
    "REQUEST_NOT_FINISHED": (grpc.StatusCode.FAILED_PRECONDITION, cogreel.NotFinishedError),
    "REQUEST_FAILED": (grpc.StatusCode.FAILED_PRECONDITION, cogreel.RequestFailedError),
    "REQUEST_CANCELLED": (grpc.StatusCode.FAILED_PRECONDITION, cogreel.RequestCancelledError),
    "REQUEST_COMPLETED": (grpc.StatusCode.FAILED_PRECONDITION, cogreel.AlreadyFinishedError),
    "CURSOR_INVALID": (grpc.StatusCode.OUT_OF_RANGE, cogreel.CursorError),
    "CURSOR_EXPIRED": (grpc.StatusCode.OUT_OF_RANGE, cogreel.CursorError),
    "QUEUE_FULL": (grpc.StatusCode.RESOURCE_EXHAUSTED, cogreel.LimitExceededError),
    "LIMIT_EXCEEDED": (grpc.StatusCode.RESOURCE_EXHAUSTED, cogreel.LimitExceededError),
    "QUEUE_UNAVAILABLE": (grpc.StatusCode.UNAVAILABLE, cogreel.UnavailableError),
    "STORE_UNAVAILABLE": (grpc.StatusCode.UNAVAILABLE, cogreel.UnavailableError),
    "REPLICA_BEHIND": (grpc.StatusCode.UNAVAILABLE, cogreel.UnavailableError),
    "SHUTTING_DOWN": (grpc.StatusCode.UNAVAILABLE, cogreel.UnavailableError),
    "UNIMPLEMENTED": (grpc.StatusCode.UNIMPLEMENTED, cogreel.UnimplementedError),
    "INTERNAL": (grpc.StatusCode.INTERNAL, cogreel.InternalError),
}


def test_every_reason_of_the_contract_has_a_meaning() -> None:
    assert {f"ERROR_REASON_{reason}" for reason in MEANINGS} | {"ERROR_REASON_UNSPECIFIED"} == set(ErrorReason.keys())


@pytest.mark.parametrize("reason", MEANINGS)
def test_a_reason_becomes_its_exception(reason: str) -> None:
    code, kind = MEANINGS[reason]
    error = error_of(Refuse(code, reason, "what happened", (("key", "value"),)))
    assert type(error) is kind
    assert (error.code, error.reason, error.message) == (code, reason, "what happened")
    assert error.metadata == {"key": "value"}
    assert error.retry_after is None


def test_invalid_input_names_each_field_and_rule() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="text_to_video.prompt", description="must not be blank")
    bad.field_violations.add(field="priority", description="must be a defined value")
    error = error_of(Refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", details=(bad,)))
    assert isinstance(error, cogreel.InvalidInputError)
    assert error.violations == (
        cogreel.Violation("text_to_video.prompt", "must not be blank"),
        cogreel.Violation("priority", "must be a defined value"),
    )
    assert error.fields == ("text_to_video.prompt", "priority")
    assert str(error) == "text_to_video.prompt: must not be blank; priority: must be a defined value"


def test_details_reach_the_properties_that_belong_to_them() -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    full = error_of(Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", details=(retry,)))
    assert full.retry_after == timedelta(seconds=2.5)

    failed = error_of(
        Refuse(
            grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_FAILED", metadata=(("failure", "DEVICE"), ("attempts", "3"))
        )
    )
    assert isinstance(failed, cogreel.RequestFailedError)
    assert (failed.failure, failed.attempts) == ("DEVICE", 3)

    resource = error_details_pb2.ResourceInfo(resource_type="request", resource_name="9f1c")
    conflict = error_of(Refuse(grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT", details=(resource,)))
    assert isinstance(conflict, cogreel.IdempotencyConflictError)
    assert conflict.existing_request_id == "9f1c"
    assert conflict.resource == "9f1c"

    unknown = error_of(Refuse(grpc.StatusCode.NOT_FOUND, "ENDPOINT_NOT_FOUND", metadata=(("endpoints", "small,big"),)))
    assert isinstance(unknown, cogreel.NotFoundError)
    assert unknown.endpoints == ("small", "big")

    limited = error_of(Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", metadata=(("limit", "queued"),)))
    assert isinstance(limited, cogreel.LimitExceededError)
    assert limited.limit == "queued"


def test_reasons_of_other_domains_are_left_to_the_code() -> None:
    error = error_of(Refuse(grpc.StatusCode.UNAVAILABLE, "REQUEST_FAILED", domain="proxy.example"))
    assert type(error) is cogreel.UnavailableError
    assert error.reason == ""


def test_reasons_of_a_newer_service_are_kept_and_classed_by_code() -> None:
    error = error_of(Refuse(grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND"))
    assert type(error) is cogreel.NotFoundError
    assert error.reason == "VOICE_NOT_FOUND"


@pytest.mark.parametrize("garbage", [b"\xff\xff", b"", Refuse(grpc.StatusCode.NOT_FOUND).status().SerializeToString()])
def test_details_that_make_no_sense_leave_code_and_message(garbage: bytes) -> None:
    details = decode_details(grpc.StatusCode.UNAVAILABLE, "down", [("grpc-status-details-bin", garbage)])
    error = typed_error(details)
    assert type(error) is cogreel.UnavailableError
    assert error.message == "down"


def test_all_exceptions_can_be_caught_as_one() -> None:
    kinds = [getattr(cogreel, name) for name in cogreel.__all__ if name.endswith("Error")]
    assert len(kinds) > 10
    assert all(issubclass(kind, cogreel.CogReelError) for kind in kinds)


def test_exceptions_cross_process_borders() -> None:
    error = cogreel.RequestFailedError(ErrorDetails("out of memory", metadata={"failure": "DEVICE"}), request_id="9f1c")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.failure, copy.request_id) == ("out of memory", "DEVICE", "9f1c")
