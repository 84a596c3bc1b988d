"""What can go wrong between a caller and the queue. `service` turns each into one typed error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that an input breaks: `field` is its path as in the contract, `description` the rule."""

    field: str
    description: str


class InvalidInputError(Exception):
    """The submission breaks rules of the contract or of the model's card."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


class EndpointNotFoundError(Exception):
    """No such endpoint is served, or none for this kind of input."""

    def __init__(self, endpoint: str, served: Sequence[str]) -> None:
        super().__init__(f"no endpoint {endpoint!r}; served: {', '.join(served)}")
        self.endpoint = endpoint
        self.served = tuple(served)


class RequestNotFoundError(Exception):
    """The tenant has no request with this id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"no request {request_id}")
        self.request_id = request_id


class IdempotencyConflictError(Exception):
    """The idempotency key was used with another body, for the request `request_id`."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the idempotency key was used with another body, for request {request_id}")
        self.request_id = request_id


class AlreadyFinishedError(Exception):
    """The request had reached the terminal state `state` before it could be cancelled."""

    def __init__(self, request_id: str, state: str) -> None:
        super().__init__(f"request {request_id} is {state}")
        self.request_id = request_id
        self.state = state


class CursorInvalidError(Exception):
    """The cursor is malformed or belongs to another request."""


class CursorExpiredError(Exception):
    """What the cursor points at is gone, or the stream was made anew since."""


class ReplicaBehindError(Exception):
    """The broker has not yet shown what the cursor points at."""


class QueueFullError(Exception):
    """The queue takes no more: its storage is nearly full, or as many requests wait as may."""


class LimitExceededError(Exception):
    """A limit of the tenant is reached; `limit` is its name in the contract's `Limits`, `allowed` its value."""

    def __init__(self, limit: str, allowed: int, retry_after_s: float) -> None:
        super().__init__(f"the tenant's limit {limit} of {allowed} is reached")
        self.limit = limit
        self.allowed = allowed
        self.retry_after_s = retry_after_s


class BrokerUnavailableError(Exception):
    """The broker is out of reach, or could not decide in time. Repeating is safe."""


class NotAllowedError(BrokerUnavailableError):
    """The broker does not allow it to the user that we connect as."""


class StreamEndedError(Exception):
    """A stream can be followed no more: it was made anew, or something in it cannot be read. Start again."""


class ShuttingDownError(Exception):
    """This process is going away; another replica can go on."""
