"""Blocking runs: one call that lasts as long as its request."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog
from cogreel import AlreadyFinishedError, AsyncCogReel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.access import client_of
from gateway.answers import answer, refusal
from gateway.context import context_of
from gateway.queue_routes import about, accept, output_of
from hosted.results import result_json

_log = structlog.get_logger(__name__)


class CallerLeftError(Exception):
    """Nobody waits for the answer any more."""


def run_routes() -> list[BaseRoute]:
    """The routes."""
    return [Route("/run/{endpoint:path}", run, methods=["POST"])]


async def run(request: Request) -> Response:
    """Submit a request, wait for its end, answer with its output.

    If the caller leaves, the request is cancelled: nobody knows its id. One that a repeated call would find again, by
    idempotency key or seed, goes on.
    """
    client = client_of(request)
    submission, response = await accept(request)
    request_id = response.request_id
    ended = asyncio.create_task(_ended(client, request_id), name="run: the request")
    left = asyncio.create_task(_left(request), name="run: the caller")
    stopping = asyncio.create_task(context_of(request).stopping.wait(), name="run: the gateway")
    waiting = {ended, left, stopping}
    try:
        with context_of(request).metrics.waiting("run"):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if left.done() and not ended.done():
            if not (submission.has_seed or submission.idempotency_key):
                await _abandon(client, request_id)
            raise CallerLeftError(request_id)
        if not ended.done():
            detail = f"The gateway stops. Request {request_id} goes on; ask the queue for its result."
            raise refusal(500, detail, "internal_error")
        await ended
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    status = (await client.status(request_id)).status
    return answer(result_json(await output_of(client, status)), headers=about(request_id))


async def _ended(client: AsyncCogReel, request_id: str) -> None:
    async with aclosing(client.watch(request_id)) as updates:
        async for _ in updates:
            pass


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _abandon(client: AsyncCogReel, request_id: str) -> None:
    _log.info("run.abandoned", request_id=request_id)
    try:
        await client.cancel(request_id)
    except AlreadyFinishedError:
        _log.debug("run.ended_before", request_id=request_id)
