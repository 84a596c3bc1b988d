"""Answers as the clients need them: JSON in ASCII, and errors in the protocol's two shapes.

What a model refuses has a list in `detail`, one entry a field; all else has a text there, and some an `error_type`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

REQUEST_ID_HEADER = "x-fal-request-id"

Upstream = Literal["service", "store"]
"""What the gateway calls itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that breaks a rule, as an entry of a 422's `detail`."""

    loc: tuple[str | int, ...]
    """Where it is, beginning with body, query or header."""
    msg: str
    """The rule, in words."""
    type: str = "value_error"
    """The kind of rule, in pydantic's words where it has one."""
    ctx: Mapping[str, object] | None = None
    """Values that belong to the kind, such as `{"le": 50}`."""

    def as_json(self) -> dict[str, object]:
        """The entry."""
        entry: dict[str, object] = {"loc": [*self.loc], "msg": self.msg, "type": self.type}
        return entry | ({"ctx": dict(self.ctx)} if self.ctx is not None else {})


class RefusalError(Exception):
    """A call that is answered with an error; raised anywhere below a route."""

    def __init__(self, status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """What is sent."""
        return answer(self.body, self.status, self.headers)


class UpstreamFailedError(RefusalError):
    """A call that is refused since what the gateway calls itself was out of reach or failed."""

    def __init__(self, upstream: Upstream, error: RefusalError) -> None:
        super().__init__(error.status, error.body, error.headers)
        self.upstream: Upstream = upstream


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. It is ASCII: some clients damage a character that arrives in two pieces."""
    content = json.dumps(body, separators=(",", ":"), allow_nan=False)
    return Response(content, status, {**(headers or {}), "content-type": "application/json"})


def refusal(
    status: int, detail: str, error_type: str = "", headers: Mapping[str, str] | None = None, **more: object
) -> RefusalError:
    """An error that is not about a field of the input."""
    if not error_type:
        return RefusalError(status, {"detail": detail, **more}, headers)
    named = {"x-fal-error-type": error_type, **(headers or {})}
    return RefusalError(status, {"detail": detail, "error_type": error_type, **more}, named)


def invalid(problems: Sequence[Problem]) -> RefusalError:
    """An input that breaks rules."""
    body = {"detail": [problem.as_json() for problem in problems]}
    return RefusalError(422, body, {"x-fal-retryable": "false"})


def not_found(detail: str) -> RefusalError:
    """There is no such request."""
    return RefusalError(404, {"status": "NOT_FOUND", "detail": detail})
