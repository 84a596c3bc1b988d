"""What is said of requests that ended without a result: an HTTP status, a word for the kind, and a body.

What failed by its input has a list in `detail`, one entry a field, under 422; all else has a text there, with an
`error_type`. A cancelled request is told as 499, which is of no standard, but what the hosted service says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import Failure, FailureReason

from hosted.inputs import place_of


@dataclass(frozen=True, slots=True)
class Ending:
    """How the end of a request is told, if it is no result."""

    status: int
    """Of HTTP."""
    error_type: str
    """The word for its kind."""
    message: str
    """What happened, in words."""
    place: tuple[str | int, ...] = ()
    """Where the input is at fault, if it is."""

    def body(self) -> dict[str, object]:
        """The body of the error."""
        if self.place:
            return {"detail": [{"loc": [*self.place], "msg": self.message, "type": self.error_type}]}
        return {"detail": self.message, "error_type": self.error_type}


CANCELLED = Ending(499, "client_cancelled", "The request was cancelled.")

_INPUT_ERRORS: Mapping[int, str] = {
    FailureReason.FAILURE_REASON_INVALID_INPUT: "value_error",
    FailureReason.FAILURE_REASON_INPUT_UNAVAILABLE: "file_download_error",
}
# 500 rather than the hosted 503 for what failed for good: clients repeat on 503.
_OTHER_ERRORS: Mapping[int, tuple[int, str]] = {
    FailureReason.FAILURE_REASON_START_TIMEOUT: (504, "request_timeout"),
    FailureReason.FAILURE_REASON_LEASE_LOST: (500, "runner_disconnected"),
    FailureReason.FAILURE_REASON_DEVICE: (500, "runner_server_error"),
}


def ending_of(failure: Failure) -> Ending:
    """How a failure is told."""
    if (kind := _INPUT_ERRORS.get(failure.reason)) is None:
        return Ending(*_OTHER_ERRORS.get(failure.reason, (500, "internal_error")), failure.message)
    place = place_of(failure.field)
    if failure.reason == FailureReason.FAILURE_REASON_INVALID_INPUT and place[-1] == "image_url":
        kind = "image_load_error"
    return Ending(422, kind, failure.message, place)
