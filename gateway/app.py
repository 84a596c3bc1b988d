"""The application, put together from its groups of routes."""

from __future__ import annotations

from cogreel import CogReelError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.answers import REQUEST_ID_HEADER, RefusalError, UpstreamFailedError, answer, refusal
from gateway.context import Context, context_of
from gateway.envelope import CALL_ID_HEADER, Envelope
from gateway.errors import refusal_of
from gateway.hosts import HostedNames
from gateway.metrics import noting_routes
from gateway.openapi import openapi_routes
from gateway.playground_routes import playground_routes
from gateway.queue_routes import queue_routes, submit_route
from gateway.run_routes import CallerLeftError, run_routes
from gateway.status_stream import status_stream_routes
from gateway.storage_routes import storage_routes
from gateway.webhook_key_routes import webhook_key_routes

EXPOSED_HEADERS = (
    REQUEST_ID_HEADER,
    CALL_ID_HEADER,
    "x-fal-error-type",
    "x-fal-request-timeout-type",
    "x-fal-retryable",
    "retry-after",
    "etag",
)
"""What pages of other origins may read, where they may call at all."""


def application(context: Context) -> ASGIApp:
    """The gateway as an ASGI application."""
    app = Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            *openapi_routes(),
            *webhook_key_routes(),
            *playground_routes(),
            *run_routes(),
            *status_stream_routes(),
            *storage_routes(),
            *queue_routes(),
            submit_route(),
        ],
        exception_handlers={
            RefusalError: _refused,
            CogReelError: _service_refused,
            HTTPException: _unserved,
            CallerLeftError: _unread,
            ClientDisconnect: _unread,
            Exception: _fault,
        },
    )
    app.state.context = context
    settings = context.settings
    served: ASGIApp = HostedNames(noting_routes(app), proxy_api_key=settings.proxy_api_key)
    if settings.cors_origins:
        served = CORSMiddleware(
            served,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    return Envelope(served, context.metrics)


async def health(_request: Request) -> Response:
    """Whether this process serves; it says nothing about the service behind it."""
    return answer({"status": "ok"})


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    if isinstance(error, UpstreamFailedError):
        context_of(request).metrics.upstream_failed(error.upstream)
    return error.answer()


async def _service_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CogReelError)
    return await _refused(request, refusal_of(error))


async def _unserved(_request: Request, error: Exception) -> Response:
    """A path or a method that is not served."""
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, headers=error.headers).answer()


async def _unread(_request: Request, _error: Exception) -> Response:
    """The caller has left; what is sent is for the log."""
    return answer({}, 499)


async def _fault(_request: Request, _error: Exception) -> Response:
    """A fault of the gateway, which its log explains under the call's id."""
    return refusal(500, "The gateway failed; its log has more under x-request-id.", "internal_error").answer()
