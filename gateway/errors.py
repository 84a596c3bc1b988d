"""From what the service says to what an HTTP caller is told: the one place that decides on statuses.

The published clients repeat a submission on 408, 409, 429, 502, 503 and 504, so none of these describes what is final.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cogreel
from cogreel import CogReelError
from cogreel.v1.queue_pb2 import FailureReason

from gateway.answers import Problem, RefusalError, UpstreamFailedError, invalid, not_found, refusal
from gateway.fields import place_of, problem_of

CANCELLED = "client_cancelled"
NOT_FINISHED = "Request is still in progress"  # the words of the hosted API
_TIMEOUT_TYPE = {"x-fal-request-timeout-type": "user"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a failed request is answered: the status, and the word for its kind."""

    status: int
    error_type: str


_OUTCOMES: Mapping[int, Outcome] = {
    FailureReason.FAILURE_REASON_INVALID_INPUT: Outcome(422, "value_error"),
    FailureReason.FAILURE_REASON_INPUT_UNAVAILABLE: Outcome(422, "file_download_error"),
    FailureReason.FAILURE_REASON_START_TIMEOUT: Outcome(504, "request_timeout"),
    FailureReason.FAILURE_REASON_LEASE_LOST: Outcome(500, "runner_disconnected"),
    FailureReason.FAILURE_REASON_DEVICE: Outcome(500, "runner_server_error"),
}
_FAULT = Outcome(500, "internal_error")


def outcome_of(reason: int, field: str = "") -> Outcome:
    """How a failure with this reason is answered; `field` is the input at fault, if one is."""
    if reason == FailureReason.FAILURE_REASON_INVALID_INPUT and place_of(field)[-1] == "image_url":
        return Outcome(422, "image_load_error")
    return _OUTCOMES.get(reason, _FAULT)


def refusal_of(error: CogReelError, body: Mapping[str, object] | None = None) -> RefusalError:  # noqa: C901, PLR0911, PLR0912 - one flat table is the point
    """What the caller is told of an error; `body` is what was submitted, if anything was."""
    match error:
        case cogreel.InvalidInputError():
            return invalid([problem_of(violation, body) for violation in error.violations] or [_whole(error)])
        case cogreel.AuthenticationError():
            return refusal(401, error.message)
        case cogreel.PermissionDeniedError():
            return refusal(403, error.message)
        case cogreel.NotFoundError() if error.details.violations:
            return invalid([problem_of(violation, body) for violation in error.details.violations])
        case cogreel.NotFoundError():
            return not_found(error.message) if error.request_id else refusal(404, error.message)
        case cogreel.IdempotencyConflictError():
            return invalid([Problem(("header", "idempotency-key"), error.message, "idempotency_conflict")])
        case cogreel.NotFinishedError():
            return refusal(400, NOT_FINISHED, "bad_request")
        case cogreel.RequestFailedError():
            return _failed(error)
        case cogreel.RequestCancelledError():
            return refusal(499, error.message, CANCELLED)
        case cogreel.AlreadyFinishedError():
            return RefusalError(400, {"status": "ALREADY_COMPLETED", "detail": error.message})
        case cogreel.LimitExceededError() if error.limit == "max_upload_bytes":
            return refusal(413, error.message, "file_too_large")
        case cogreel.LimitExceededError():
            return refusal(429, error.message, headers=_retry_after(error))
        case cogreel.UnimplementedError() if error.details.violations:
            return invalid([problem_of(violation, body) for violation in error.details.violations])
        case cogreel.UnimplementedError():
            return refusal(501, error.message)
        case cogreel.UnavailableError():
            detail = "The service is out of reach; try again."
            refused = refusal(503, detail, "runner_connection_error", _retry_after(error))
            return UpstreamFailedError("service", refused)
        case _:
            return UpstreamFailedError("service", refusal(500, error.message, "internal_error"))


def _failed(error: cogreel.RequestFailedError) -> RefusalError:
    reason = dict(FailureReason.items()).get(f"FAILURE_REASON_{error.failure}", 0)
    field = error.metadata.get("field", "")
    outcome = outcome_of(reason, field)
    if outcome.status == 422:
        return invalid([Problem(place_of(field), error.message, outcome.error_type)])
    headers = {"x-fal-retryable": "true"}
    return refusal(
        outcome.status,
        error.message,
        outcome.error_type,
        headers | (_TIMEOUT_TYPE if outcome.error_type == "request_timeout" else {}),
    )


def _whole(error: CogReelError) -> Problem:
    return Problem(("body",), error.message)


def _retry_after(error: CogReelError) -> dict[str, str]:
    seconds = error.retry_after.total_seconds() if error.retry_after is not None else 1.0
    return {"retry-after": str(max(1, math.ceil(seconds)))}
