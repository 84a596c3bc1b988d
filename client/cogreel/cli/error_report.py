"""What a person is told about an error: what happened, why, and what to do. And the exit code that goes with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from cogreel.cli.exit_codes import ExitCode
from cogreel.errors import (
    AlreadyFinishedError,
    AuthenticationError,
    CogReelError,
    CursorError,
    DownloadError,
    IdempotencyConflictError,
    InternalError,
    InvalidInputError,
    LimitExceededError,
    NotFinishedError,
    NotFoundError,
    PermissionDeniedError,
    RequestCancelledError,
    RequestFailedError,
    UnavailableError,
    UnimplementedError,
    UploadError,
)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error, told to a person."""

    exit_code: ExitCode
    happened: str
    reasons: tuple[str, ...]
    advice: str

    def __str__(self) -> str:
        lines = (f"error: {self.happened}", *(f"  {reason}" for reason in self.reasons), self.advice)
        return "\n".join(filter(None, lines))


_MEANINGS: dict[type[CogReelError], tuple[ExitCode, str]] = {
    InvalidInputError: (ExitCode.INVALID_INPUT, "the input was refused"),
    AuthenticationError: (ExitCode.NOT_ALLOWED, "the service does not accept this API key"),
    PermissionDeniedError: (ExitCode.NOT_ALLOWED, "this API key may not do that"),
    NotFoundError: (ExitCode.NOT_FOUND, "there is no such thing here"),
    RequestFailedError: (ExitCode.REQUEST_FAILED, "the request failed"),
    RequestCancelledError: (ExitCode.REQUEST_CANCELLED, "the request was cancelled"),
    UnavailableError: (ExitCode.UNAVAILABLE, "the service stayed out of reach"),
    NotFinishedError: (ExitCode.NOT_FINISHED, "there is no result yet"),
    AlreadyFinishedError: (ExitCode.ALREADY_FINISHED, "the request has ended already"),
    LimitExceededError: (ExitCode.LIMIT_EXCEEDED, "the service takes no more for now"),
    IdempotencyConflictError: (ExitCode.CONFLICT, "the idempotency key was used before"),
    CursorError: (ExitCode.CURSOR_INVALID, "the cursor is of no use"),
    DownloadError: (ExitCode.FILE_PROBLEM, "the video could not be fetched"),
    UploadError: (ExitCode.FILE_PROBLEM, "the file could not be uploaded"),
    UnimplementedError: (ExitCode.NOT_SERVED, "the service does not serve this call"),
    InternalError: (ExitCode.UNEXPECTED, "the service has a fault"),
}


def report(error: CogReelError, address: str) -> ErrorReport:
    """The report of an error that came up in a call to `address`."""
    exit_code, happened = _MEANINGS.get(type(error), (ExitCode.UNEXPECTED, "the service answered with an error"))
    happened = _headline(error) or happened
    reasons = tuple(map(str, error.violations)) if isinstance(error, InvalidInputError) else ()
    return ErrorReport(exit_code, happened, reasons or (error.message,), _advice(error, address))


def _headline(error: CogReelError) -> str:
    """What happened, where the reason or the fields say it better than the kind of error; else nothing."""
    match error:
        case NotFoundError(reason="REQUEST_NOT_FOUND"):
            return "there is no such request"
        case NotFoundError(reason="ENDPOINT_NOT_FOUND"):
            return "there is no such endpoint"
        case NotFoundError(reason="FILE_NOT_FOUND"):
            return "there is no such file"
        case UnimplementedError() if error.details.violations:
            return "this version of the service does not serve that option"
        case _:
            return ""


def _advice(error: CogReelError, address: str) -> str:  # noqa: C901, PLR0911, PLR0912 - one flat table is the point
    request_id = error.request_id or "REQUEST_ID"
    match error:
        case InvalidInputError():
            return "Correct it and try again."
        case AuthenticationError():
            return "Set COGREEL_API_KEY, or pass --api-key before the command."
        case PermissionDeniedError():
            return "Ask an operator for a key with another role."
        case NotFoundError(endpoints=served) if served:
            is_told = all(endpoint.strip() in error.message for endpoint in served)
            return "" if is_told else f"Endpoints served: {', '.join(map(str.strip, served))}"
        case NotFoundError(reason="FILE_NOT_FOUND"):
            return "Upload it again with: cogreel upload FILE"
        case NotFoundError():
            return "Is the id complete, and is the API key one of the tenant that submitted the request?"
        case RequestFailedError(failure="INVALID_INPUT"):
            return "Correct the input and submit it again."
        case RequestFailedError() | RequestCancelledError():
            return "To have it after all, submit it again."
        case UnavailableError():
            goes_on = f"\nThe request goes on; follow it with: cogreel watch {request_id}" if error.request_id else ""
            return (
                f"Is the service running, and is its address {address}? (--address, COGREEL_ADDRESS)\n"
                f"To find out why: cogreel doctor{goes_on}"
            )
        case NotFinishedError():
            return f"Follow the request with: cogreel watch {request_id}"
        case AlreadyFinishedError():
            return f"See how with: cogreel status {request_id}"
        case LimitExceededError(limit="stored_bytes"):
            return (
                "Waiting alone may free nothing: ask an operator to erase requests that you need no more, or for a "
                "higher limit."
            )
        case LimitExceededError(retry_after=timedelta() as wait):
            return f"Try again in {math.ceil(wait.total_seconds())} s."
        case LimitExceededError():
            return "Try again later."
        case IdempotencyConflictError():
            known = f" The request that has this one: {error.existing_request_id}" if error.existing_request_id else ""
            return f"Use a new key for a new submission.{known}"
        case CursorError():
            return f"Watch from the beginning with: cogreel watch {request_id}"
        case DownloadError():
            return f"The video is kept for now; try again with: cogreel result {request_id} -o FILE"
        case UploadError():
            return "Is the store up? The same command tries again."
        case UnimplementedError() if error.details.violations:
            return ""  # the message says what to do
        case UnimplementedError():
            return "Client and service are of different versions, or something else listens at this address."
        case InternalError():
            incident = f" Incident: {error.incident}" if error.incident else ""
            return f"Tell its operator.{incident}"
        case _:
            return ""
