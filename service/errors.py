"""From reasons to statuses: the one place that decides what a caller is told when a call cannot be served.

Every error is a google.rpc.Status with an ErrorInfo whose reason is one of `cogreel.v1.ErrorReason`, and what else
helps the caller to act: BadRequest names fields, ResourceInfo what was not found, RetryInfo when to try again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
import structlog
from cogreel.v1.errors_pb2 import ErrorReason
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from files import StoreUnavailableError
from jobs import errors as jobs_errors
from jobs.errors import Violation

DOMAIN = "cogreel.v1"
RETRY_S = 1.0
QUEUE_FULL_RETRY_S = 30.0
LONGEST_NAME = 512

_log = structlog.get_logger(__name__)

_CODES: dict[ErrorReason.ValueType, grpc.StatusCode] = {
    ErrorReason.ERROR_REASON_INVALID_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_REQUEST_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_ENDPOINT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_FILE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_IDEMPOTENCY_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    ErrorReason.ERROR_REASON_REQUEST_NOT_FINISHED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_REQUEST_FAILED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_REQUEST_CANCELLED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_REQUEST_COMPLETED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_CURSOR_INVALID: grpc.StatusCode.OUT_OF_RANGE,
    ErrorReason.ERROR_REASON_CURSOR_EXPIRED: grpc.StatusCode.OUT_OF_RANGE,
    ErrorReason.ERROR_REASON_QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_LIMIT_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_QUEUE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_REPLICA_BEHIND: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    ErrorReason.ERROR_REASON_INTERNAL: grpc.StatusCode.INTERNAL,
}


@dataclass(eq=False)
class CallError(Exception):
    """A call that cannot be served, with all that its caller is told."""

    reason: ErrorReason.ValueType
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[Violation] = ()
    resource: tuple[str, str] | None = None
    """Type and name of what the error is about, such as ("request", its id)."""
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.message

    @property
    def code(self) -> grpc.StatusCode:
        """The status code of the reason."""
        return _CODES[self.reason]

    def status(self) -> grpc.Status:
        """The whole as a status for `context.abort_with_status`."""
        reason = ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=dict(self.metadata))
        ]
        if self.violations:
            bad_request = error_details_pb2.BadRequest()
            for violation in self.violations:
                bad_request.field_violations.add(field=violation.field, description=violation.description)
            details.append(bad_request)
        if self.resource is not None:
            kind, name = self.resource
            details.append(error_details_pb2.ResourceInfo(resource_type=kind, resource_name=name))
        if self.retry_after_s is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(self.retry_after_s * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return rpc_status.to_status(status)


def request_not_found(request_id: str) -> CallError:
    """No request of the caller's tenant has this id; whether another tenant's has is not told."""
    return CallError(
        ErrorReason.ERROR_REASON_REQUEST_NOT_FOUND,
        f"There is no request {request_id}.",
        resource=("request", request_id),
    )


def file_not_found(name: str, *, field: str = "") -> CallError:
    """No file of the caller's tenant has this name; whether another tenant's has is not told.

    `field` is the input that named it. A URL is named without its query: that may hold a signature.
    """
    bare = name.partition("?")[0].partition("#")[0]
    shown = bare if len(bare) <= LONGEST_NAME else f"{bare[:LONGEST_NAME]}…"
    return CallError(
        ErrorReason.ERROR_REASON_FILE_NOT_FOUND,
        f"There is no file {shown}: it was never uploaded, or has expired.",
        violations=[Violation(field, "there is no such file")] if field else (),
        resource=("file", shown),
    )


def unavailable(reason: ErrorReason.ValueType, message: str) -> CallError:
    """Something is out of reach for the moment."""
    return CallError(reason, message, retry_after_s=RETRY_S)


def explain(error: Exception) -> CallError:  # noqa: C901, PLR0911, PLR0912 - one flat table is the point
    """What the caller is told of an exception. Faults of ours keep their text to the log, under an incident id."""
    match error:
        case CallError():
            return error
        case jobs_errors.InvalidInputError():
            return invalid_input(error.violations)
        case jobs_errors.EndpointNotFoundError():
            return CallError(
                ErrorReason.ERROR_REASON_ENDPOINT_NOT_FOUND,
                f"There is no endpoint {error.endpoint!r} here. Served: {', '.join(error.served)}.",
                metadata={"endpoints": ",".join(error.served)},
                resource=("endpoint", error.endpoint),
            )
        case jobs_errors.RequestNotFoundError():
            return request_not_found(error.request_id)
        case jobs_errors.IdempotencyConflictError():
            return CallError(
                ErrorReason.ERROR_REASON_IDEMPOTENCY_CONFLICT,
                f"The idempotency key was used with another body, for request {error.request_id}. "
                "Use a new key for a new request.",
                resource=("request", error.request_id),
            )
        case jobs_errors.AlreadyFinishedError():
            return CallError(
                ErrorReason.ERROR_REASON_REQUEST_COMPLETED,
                f"Request {error.request_id} is {error.state} already.",
                metadata={"state": error.state},
                resource=("request", error.request_id),
            )
        case jobs_errors.CursorInvalidError():
            return CallError(ErrorReason.ERROR_REASON_CURSOR_INVALID, f"{error}; watch again without one.")
        case jobs_errors.CursorExpiredError():
            return CallError(ErrorReason.ERROR_REASON_CURSOR_EXPIRED, f"{error}; watch again without one.")
        case jobs_errors.ReplicaBehindError():
            return unavailable(ErrorReason.ERROR_REASON_REPLICA_BEHIND, f"This replica is behind: {error}.")
        case jobs_errors.QueueFullError():
            return CallError(
                ErrorReason.ERROR_REASON_QUEUE_FULL,
                f"The queue takes no more at the moment: {error}.",
                retry_after_s=QUEUE_FULL_RETRY_S,
            )
        case jobs_errors.LimitExceededError():
            return CallError(
                ErrorReason.ERROR_REASON_LIMIT_EXCEEDED,
                f"Your limit {error.limit} of {error.allowed} is reached; try again in {error.retry_after_s:.1f} s.",
                metadata={"limit": error.limit, "allowed": str(error.allowed)},
                retry_after_s=error.retry_after_s,
            )
        case jobs_errors.BrokerUnavailableError():
            return unavailable(ErrorReason.ERROR_REASON_QUEUE_UNAVAILABLE, "The queue is out of reach; try again.")
        case StoreUnavailableError():
            return unavailable(
                ErrorReason.ERROR_REASON_STORE_UNAVAILABLE, "The object store is out of reach; try again."
            )
        case jobs_errors.ShuttingDownError():
            return CallError(
                ErrorReason.ERROR_REASON_SHUTTING_DOWN, "This replica is going away; connect again.", retry_after_s=0.1
            )
        case _:
            incident = secrets.token_hex(6)
            _log.error("call.fault", incident=incident, exc_info=error)
            return CallError(
                ErrorReason.ERROR_REASON_INTERNAL,
                f"The service failed; its log has more under incident {incident}.",
                metadata={"incident": incident},
            )


def invalid_input(violations: Sequence[Violation]) -> CallError:
    """A message that breaks rules; the text repeats the first, for callers that show nothing else."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return CallError(
        ErrorReason.ERROR_REASON_INVALID_INPUT,
        f"{first.field or 'message'}: {first.description}{more}",
        violations=violations,
    )
