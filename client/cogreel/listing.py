"""Which requests to list, and which page of them comes next. Decisions only: the clients make the calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from cogreel.errors import ErrorDetails, InvalidInputError, Violation
from cogreel.v1.queue_pb2 import ListRequestsRequest, ListRequestsResponse, RequestState, RequestStatus

STATES: tuple[str, ...] = tuple(
    name.removeprefix("REQUEST_STATE_") for name, number in RequestState.items() if number != 0
)
"""QUEUED, RUNNING, COMPLETED, FAILED and CANCELLED."""

_PAGE_SIZE = 100


class Listing:
    """One listing, page by page."""

    def __init__(
        self,
        *,
        states: Iterable[str] = (),
        endpoint: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> None:
        """Note what to list, with the arguments and errors of `CogReel.list`."""
        violations = []
        wanted = ListRequestsRequest(endpoint=endpoint)
        for state in (states,) if isinstance(states, str) else states:
            if state.upper() in STATES:
                wanted.states.append(RequestState.Value(f"REQUEST_STATE_{state.upper()}"))
            else:
                violations.append(Violation("states", f"must be of {', '.join(STATES)}, not {state!r}"))
        if limit is not None and limit < 1:
            violations.append(Violation("limit", f"must be at least 1, not {limit}"))
        if violations:
            details = ErrorDetails("the listing was refused before it was asked for", violations=tuple(violations))
            raise InvalidInputError(details)
        if since is not None:
            wanted.queued_after.CopyFrom(_timestamp(since))
        if before is not None:
            wanted.queued_before.CopyFrom(_timestamp(before))
        self.finished = False
        """Whether all that was wanted has been handed on."""
        self._wanted = wanted
        self._left = limit

    def next_page(self) -> ListRequestsRequest:
        """What to ask for next."""
        self._wanted.page_size = _PAGE_SIZE if self._left is None else min(self._left, _PAGE_SIZE)
        return self._wanted

    def accept(self, page: ListRequestsResponse) -> Sequence[RequestStatus]:
        """Note a page; returns the requests to hand on."""
        if self._left is not None:
            self._left -= len(page.requests)
        self._wanted.page_token = page.next_page_token
        self.finished = not page.next_page_token or self._left == 0
        return page.requests


def _timestamp(moment: datetime) -> Timestamp:
    """A moment for the contract; one without a time zone is local time."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment.astimezone())
    return timestamp
