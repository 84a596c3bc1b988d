"""The status of a request as server-sent events: one for each change, until it is over.

Clients take the end of the body for the end of the request. So a stream that cannot go on is broken off, which they
report as an error, and never ended in order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from cogreel import AsyncCogReel, CogReelError, LogUpdate, PositionUpdate, ProgressUpdate, StateUpdate, Update
from cogreel.v1.queue_pb2 import LogLine, RequestStatus
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway.access import client_of, client_of_stream_token
from gateway.answers import UpstreamFailedError
from gateway.context import Context, context_of
from gateway.errors import refusal_of
from gateway.presentation import RequestUrls, app_of, is_over, status_json
from gateway.queue_routes import about, check_place, request_id_of, urls_of, wants_logs

_T = TypeVar("_T")
_COMMENT = b": still here\n\n"


class BrokenOffError(Exception):
    """The stream cannot go on, as the gateway stops or the service is away."""


def status_stream_routes() -> list[BaseRoute]:
    """The routes."""
    return [Route("/{endpoint:path}/requests/{request_id}/status/stream", stream_status, methods=["GET"])]


async def stream_status(request: Request) -> Response:
    """Stream the status of a request."""
    request_id = request_id_of(request)
    token = request.query_params.get("fal_jwt_token")
    app = app_of(request.path_params["endpoint"]).rpartition("/")[2]
    client = client_of_stream_token(request, token, app) if token else client_of(request)
    first = (await client.status(request_id)).status  # what is wrong must be said before the stream begins
    check_place(request, first)
    view = _View(urls_of(request), with_logs=wants_logs(request), status=first)
    context = context_of(request)
    return _EventStream(context, _events(client, request_id, view, context), about(request_id))


class _EventStream(StreamingResponse):
    """Counts a stream while it is open, and ends its watch with it."""

    def __init__(self, context: Context, events: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no", **headers}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._metrics = context.metrics
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._metrics.waiting("stream"):
            async with aclosing(self._events):
                try:
                    await super().__call__(scope, receive, send)
                except BrokenOffError:
                    self._metrics.broken_off()
                    raise
                except CogReelError as error:  # it is too late for another status
                    if isinstance(refused := refusal_of(error), UpstreamFailedError):
                        self._metrics.upstream_failed(refused.upstream)
                    self._metrics.broken_off()
                    raise BrokenOffError(str(error)) from error


@dataclass
class _View:
    """What has been told of a request, and how."""

    urls: RequestUrls
    with_logs: bool
    status: RequestStatus
    told: RequestStatus | None = field(default=None)

    def event(self, update: Update) -> bytes | None:
        """What to send of an update, if it changes anything for the caller."""
        match update:
            case StateUpdate(status=status):
                self.status = status
            case PositionUpdate(position=position):
                self.status = _copy(self.status)
                self.status.position = position
            case ProgressUpdate():
                self.status = _copy(self.status)
                self.status.progress.CopyFrom(update.raw.progress)
            case LogUpdate() if self.with_logs:
                return self._written([update.raw.log])
            case _:
                return None
        return self._written([]) if self.status != self.told else None

    def _written(self, lines: Sequence[LogLine]) -> bytes:
        """An event. Its log lines are new ones: clients append them to what they have."""
        self.told = self.status
        body = status_json(self.status, self.urls, lines if self.with_logs else None)
        return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode("ascii")


def _copy(status: RequestStatus) -> RequestStatus:
    copied = RequestStatus()
    copied.CopyFrom(status)
    return copied


async def _events(client: AsyncCogReel, request_id: str, view: _View, context: Context) -> AsyncGenerator[bytes, None]:
    async with (
        aclosing(client.watch(request_id)) as updates,
        aclosing(_paced(updates, context.settings.keep_alive_s, context.stopping)) as paced,
    ):
        async for update in paced:
            event = _COMMENT if update is None else view.event(update)
            if event is not None:
                yield event
    if view.told is None or not is_over(view.told):
        raise BrokenOffError("the watch ended before the request did")


async def _paced(
    updates: AsyncGenerator[_T, None], pause_s: float, stopping: asyncio.Event
) -> AsyncGenerator[_T | None, None]:
    """The updates, and None where there is none for a while.

    Raises:
        BrokenOffError: `stopping` is set.
    """
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            following = asyncio.ensure_future(anext(updates))
            try:
                while not following.done():
                    await asyncio.wait({following, stopped}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                    if stopped.done():
                        raise BrokenOffError("the gateway stops")
                    if not following.done():
                        yield None
                update = following.result()
            except StopAsyncIteration:
                return
            finally:
                following.cancel()
                await asyncio.wait({following})
            yield update
    finally:
        stopped.cancel()
