"""The course of one watch over any number of streams: where to resume, what to hand on, when it is over.

Decisions only: `cogreel.client` and `cogreel.async_client` open the streams and sleep.

    open ──message──► open              the update is handed on; its cursor is where to resume
    open ──terminal state──► finished
    open ──breaks──► wait ──► open      from the last cursor, until no message has come for the whole retry timeout
    open ──ends without a terminal state──► wait ──► ask the status ──► open

A stream that begins at or after the terminal event ends without it. So once the status says that the request has
ended, a stream that ends without an event means that there is nothing left to hand on.
"""

from __future__ import annotations

import grpc

from cogreel.errors import CogReelError, ErrorDetails, UnavailableError
from cogreel.retry import Retrying, RetryPolicy
from cogreel.updates import TERMINAL_STATES, StateUpdate, Update, update_from_message
from cogreel.v1.queue_pb2 import RequestStatus, WatchStatusRequest, WatchStatusResponse


class Watching:
    """One watch of one request."""

    def __init__(self, request_id: str, cursor: str | None, policy: RetryPolicy) -> None:
        self.request_id = request_id
        self.finished = False
        """Whether everything has been handed on."""
        self.must_ask_status = False
        """Whether `status_is` has to be told before the next stream is opened."""
        self._cursor = cursor
        self._policy = policy
        self._interruption: Retrying | None = None
        self._request_has_ended = False
        self._stream_had_event = False

    def next_stream(self) -> WatchStatusRequest:
        """What to open the next stream with."""
        self._stream_had_event = False
        return WatchStatusRequest(request_id=self.request_id, cursor=self._cursor or None)

    def accept(self, message: WatchStatusResponse) -> Update | None:
        """Note a message's cursor; returns the update to hand on, if it carries one."""
        self._interruption = None
        self._cursor = message.cursor or self._cursor
        update = update_from_message(message)
        self._stream_had_event |= update is not None
        self.finished = isinstance(update, StateUpdate) and update.is_terminal
        return update

    def broke(self, error: CogReelError) -> float:
        """The stream failed: seconds to wait before the next one.

        Raises:
            CogReelError: `error`, where going on would be wrong, or no message has come for the retry timeout.
        """
        self._interruption = self._interruption or Retrying(self._policy)
        return self._interruption.delay_after(error)

    def ended(self) -> float:
        """The stream ended in order, without a terminal state: seconds to wait before `must_ask_status`.

        Raises:
            UnavailableError: streams have ended in this way, without any message, for the retry timeout.
        """
        if self._request_has_ended and not self._stream_had_event:
            self.finished = True
            return 0.0
        self.must_ask_status = True
        details = ErrorDetails("the stream ended before the request did", grpc.StatusCode.UNAVAILABLE)
        return self.broke(UnavailableError(details, request_id=self.request_id))

    def status_is(self, status: RequestStatus) -> None:
        """Note where the request stands, after the stream has ended in order."""
        self.must_ask_status = False
        self._request_has_ended = status.state in TERMINAL_STATES
