"""What every answer has around it: an id, a line in the log, a count, and words of ours where something breaks."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.answers import REQUEST_ID_HEADER
from gateway.metrics import GatewayMetrics
from gateway.status_stream import BrokenOffError

CALL_ID_HEADER = "x-request-id"
_CALL_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_LONGEST_STEP = 64
"""Of a path in the log: what is longer is a sealed URL, and whoever has it may use it."""

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("cogreel.gateway")


class Envelope:
    """Wraps the whole application.

    `x-request-id` names the call: the caller's own id, or one that is drawn. `x-fal-request-id` names the request that
    it is about, or else the call too: to the clients, an answer without it comes from some proxy.
    """

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(CALL_ID_HEADER, "")
        call_id = given if _CALL_ID.fullmatch(given) else str(uuid.uuid4())
        state = scope.setdefault("state", {})
        began, status = time.monotonic(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = MutableHeaders(scope=message)
                sent[CALL_ID_HEADER] = call_id
                sent.setdefault(REQUEST_ID_HEADER, state.get("request_id", call_id))
            await send(message)

        span = _tracer.start_as_current_span(f"HTTP {scope['method']}", extract(headers), SpanKind.SERVER)
        with structlog.contextvars.bound_contextvars(call_id=call_id), span:
            try:
                await self._app(scope, receive, send_named)
            except BrokenOffError as error:
                # Returning without an end of the body has the server break the connection off.
                _log.info("http.broken_off", cause=str(error))
            except Exception as error:  # noqa: BLE001 - its caller has been told, unless it broke a body off
                _log.error("http.fault", exc_info=error)
            finally:
                seconds = time.monotonic() - began
                self._metrics.call_ended(scope, status, seconds)
                _log.info(
                    "http.served",
                    method=scope["method"],
                    path=_shown(scope["path"]),
                    status=status,
                    request_id=state.get("request_id"),
                    seconds=round(seconds, 4),
                )


def _shown(path: str) -> str:
    return "/".join(step if len(step) <= _LONGEST_STEP else "…" for step in path.split("/"))
