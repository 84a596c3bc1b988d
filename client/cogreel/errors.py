"""The exceptions of the client: one class for each meaning that a caller may want to act on.

What the service says about an error (google.rpc.Status) is decoded in `cogreel.error_details`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import grpc

from cogreel.v1.errors_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of an input that breaks a rule."""

    field: str
    """Path of the field in `SubmitRequest`, such as `text_to_video.num_inference_steps`."""

    description: str
    """The rule, in words."""

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """All that is known about an error."""

    message: str
    """What happened, for people."""

    code: grpc.StatusCode | None = None
    """The gRPC code of the call; None where the client refused by itself."""

    reason: str = ""
    """Name of the contract's `ErrorReason`, without its prefix; empty where the service gave none."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Further facts that belong to the reason, as `cogreel/v1/errors.proto` describes them."""

    retry_after: timedelta | None = None
    """How long the service asks to wait before the next try."""

    violations: tuple[Violation, ...] = ()
    """Which fields break which rules."""

    resource: str = ""
    """Name of the request, endpoint or file that the error speaks of."""


class CogReelError(Exception):
    """Anything that went wrong between the caller and the service."""

    def __init__(self, details: ErrorDetails, *, request_id: str | None = None) -> None:
        super().__init__(details)
        self.details = details
        self.request_id = request_id
        """The request that the call was about, once it is known."""

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """What happened, for people."""
        return self.details.message

    @property
    def code(self) -> grpc.StatusCode | None:
        """The gRPC code of the call; None where the client refused by itself."""
        return self.details.code

    @property
    def reason(self) -> str:
        """Name of the contract's `ErrorReason`, without its prefix; empty where the service gave none."""
        return self.details.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """Further facts that belong to the reason."""
        return self.details.metadata

    @property
    def retry_after(self) -> timedelta | None:
        """How long the service asks to wait before the next try; None where it does not say."""
        return self.details.retry_after

    @property
    def resource(self) -> str:
        """Name of the request, endpoint or file that the error speaks of; empty where the service does not say."""
        return self.details.resource


class InvalidInputError(CogReelError):
    """The input breaks a rule; `violations` names each field and its rule. Nothing was queued."""

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Which fields break which rules."""
        return self.details.violations

    @property
    def fields(self) -> tuple[str, ...]:
        """Paths of the fields at fault, such as `text_to_video.prompt`."""
        return tuple(violation.field for violation in self.violations)

    def __str__(self) -> str:
        return "; ".join(map(str, self.violations)) or self.message


class AuthenticationError(CogReelError):
    """There is no API key, or it is malformed, unknown or revoked."""


class PermissionDeniedError(CogReelError):
    """The key's role does not allow this call."""


class NotFoundError(CogReelError):
    """The caller's tenant has no such request or file, or no such endpoint is served; `resource` names it."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints that are served, where it was an endpoint that was not found."""
        return tuple(filter(None, self.metadata.get("endpoints", "").split(",")))


class IdempotencyConflictError(CogReelError):
    """The idempotency key was used before, with another body."""

    @property
    def existing_request_id(self) -> str:
        """The request that has the key."""
        return self.details.resource


class NotFinishedError(CogReelError):
    """There is no result yet."""

    @property
    def state(self) -> str:
        """How far the request is, such as `RUNNING`."""
        return self.metadata.get("state", "")


class RequestFailedError(CogReelError):
    """The request ended as FAILED; the message says why."""

    @property
    def failure(self) -> str:
        """Name of the contract's `FailureReason`, such as `DEVICE`; empty where the service does not say."""
        return self.metadata.get("failure", "")

    @property
    def attempts(self) -> int | None:
        """After how many attempts it failed; None where the service does not say."""
        attempts = self.metadata.get("attempts", "")
        return int(attempts) if attempts.isdecimal() else None


class RequestCancelledError(CogReelError):
    """The request was cancelled."""


class AlreadyFinishedError(CogReelError):
    """The request had ended before it could be cancelled."""

    @property
    def state(self) -> str:
        """How it ended, such as `COMPLETED`."""
        return self.metadata.get("state", "")


class CursorError(CogReelError):
    """The cursor is malformed, belongs to another request, or points at what is gone. Watch without one."""


class LimitExceededError(CogReelError):
    """The queue is full or a limit of the tenant is reached; `retry_after` says when to try again."""

    @property
    def limit(self) -> str:
        """Name of the limit that is reached, such as `queued`; empty where it is the queue that is full."""
        return self.metadata.get("limit", "")


class UnavailableError(CogReelError):
    """The service could not be reached, or not in time. This says nothing about the fate of a request."""


class UnimplementedError(CogReelError):
    """The call is part of the contract, and the service does not serve it."""


class InternalError(CogReelError):
    """A fault of the service."""

    @property
    def incident(self) -> str:
        """What operators look for in their logs; empty where the service gave nothing."""
        return self.metadata.get("incident", "")


class DownloadError(CogReelError):
    """A finished video could not be fetched, or what arrived is not what the service stored."""


class UploadError(CogReelError):
    """A file could not be put into the store."""


_BY_REASON: Mapping[int, type[CogReelError]] = {
    ErrorReason.ERROR_REASON_INVALID_INPUT: InvalidInputError,
    ErrorReason.ERROR_REASON_UNAUTHENTICATED: AuthenticationError,
    ErrorReason.ERROR_REASON_PERMISSION_DENIED: PermissionDeniedError,
    ErrorReason.ERROR_REASON_REQUEST_NOT_FOUND: NotFoundError,
    ErrorReason.ERROR_REASON_ENDPOINT_NOT_FOUND: NotFoundError,
    ErrorReason.ERROR_REASON_FILE_NOT_FOUND: NotFoundError,
    ErrorReason.ERROR_REASON_IDEMPOTENCY_CONFLICT: IdempotencyConflictError,
    ErrorReason.ERROR_REASON_REQUEST_NOT_FINISHED: NotFinishedError,
    ErrorReason.ERROR_REASON_REQUEST_FAILED: RequestFailedError,
    ErrorReason.ERROR_REASON_REQUEST_CANCELLED: RequestCancelledError,
    ErrorReason.ERROR_REASON_REQUEST_COMPLETED: AlreadyFinishedError,
    ErrorReason.ERROR_REASON_CURSOR_INVALID: CursorError,
    ErrorReason.ERROR_REASON_CURSOR_EXPIRED: CursorError,
    ErrorReason.ERROR_REASON_QUEUE_FULL: LimitExceededError,
    ErrorReason.ERROR_REASON_LIMIT_EXCEEDED: LimitExceededError,
    ErrorReason.ERROR_REASON_QUEUE_UNAVAILABLE: UnavailableError,
    ErrorReason.ERROR_REASON_STORE_UNAVAILABLE: UnavailableError,
    ErrorReason.ERROR_REASON_REPLICA_BEHIND: UnavailableError,
    ErrorReason.ERROR_REASON_SHUTTING_DOWN: UnavailableError,
    ErrorReason.ERROR_REASON_UNIMPLEMENTED: UnimplementedError,
    ErrorReason.ERROR_REASON_INTERNAL: InternalError,
}

# Where no reason came along: an answer of a proxy, of gRPC itself, or of a newer service.
_BY_CODE: Mapping[grpc.StatusCode, type[CogReelError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInputError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: IdempotencyConflictError,
    grpc.StatusCode.OUT_OF_RANGE: CursorError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
}


def typed_error(details: ErrorDetails, *, request_id: str | None = None) -> CogReelError:
    """The exception that means what `details` say: by reason, else by code, else `CogReelError` itself."""
    number = dict(ErrorReason.items()).get(f"ERROR_REASON_{details.reason}")
    kind = _BY_REASON.get(number) if number is not None else None
    if kind is None and details.code is not None:
        kind = _BY_CODE.get(details.code)
    return (kind or CogReelError)(details, request_id=request_id)
