"""From what the service says to what an HTTP caller is told: the one place that decides on statuses.

The published clients repeat a submission on 408, 409, 429, 502, 503 and 504, so none of these describes what is final.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cogreel
from cogreel import CogReelError
from cogreel.v1.queue_pb2 import RequestState, RequestStatus

from gateway.answers import Problem, RefusalError, UpstreamFailedError, invalid, not_found, refusal
from gateway.fields import problem_of
from hosted.failures import CANCELLED, Ending, ending_of

NOT_FINISHED = "Request is still in progress"  # the words of the hosted API
_TIMEOUT_TYPE = {"x-fal-request-timeout-type": "user"}


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


def no_result(status: RequestStatus) -> RefusalError:
    """What whoever asks for its result is told of a request that has none, or none yet."""
    match status.state:
        case RequestState.REQUEST_STATE_CANCELLED:
            return _ended(CANCELLED)
        case RequestState.REQUEST_STATE_FAILED:
            ending = ending_of(status.failure)
            headers = {"x-fal-retryable": "false" if ending.place else "true"}
            return _ended(ending, headers | (_TIMEOUT_TYPE if ending.error_type == "request_timeout" else {}))
        case _:
            return refusal(400, NOT_FINISHED, "bad_request")


def _ended(ending: Ending, headers: Mapping[str, str] | None = None) -> RefusalError:
    named = {} if ending.place else {"x-fal-error-type": ending.error_type}
    return RefusalError(ending.status, ending.body(), {**named, **(headers or {})})


def _whole(error: CogReelError) -> Problem:
    return Problem(("body",), error.message)


def _retry_after(error: CogReelError) -> dict[str, str]:
    seconds = error.retry_after.total_seconds() if error.retry_after is not None else 1.0
    return {"retry-after": str(max(1, math.ceil(seconds)))}
