"""What happens to every call of the contract: authenticate, authorize, validate, serve, and turn what goes wrong into
a status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc
from cogreel.v1.errors_pb2 import ErrorReason
from google.protobuf.message import Message

from jobs.keys import KeyDirectory
from service.authentication import OPEN_TO_ALL, authenticate, authorize, caller
from service.calls import PACKAGE, Call, Context, observed
from service.errors import explain
from service.metrics import ServiceMetrics
from service.validation import check

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

Answer = Callable[[Message, Context], Awaitable[Message]]
Stream = Callable[[Message, Context], AsyncIterator[Message]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the methods of `cogreel.v1`; health and reflection stay open to anyone."""

    def __init__(self, directory: KeyDirectory, metrics: ServiceMetrics) -> None:
        self._directory = directory
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[_Request, _Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[_Request, _Response] | None:
        """Hand out the method's handler with everything around it."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(PACKAGE):
            return handler
        if handler.request_streaming and handler.response_streaming:
            raise NotImplementedError(f"{method}: no method of the contract streams both ways")
        # A handler is a named tuple, whose functions the stubs type as the synchronous server calls them.
        wrapped: dict[str, object] = {}
        for kind in ("unary_unary", "stream_unary"):
            if (answer := getattr(handler, kind)) is not None:
                wrapped[kind] = self._answering(method, answer, checked=kind == "unary_unary")
        if (stream := getattr(handler, "unary_stream")) is not None:  # noqa: B009 - as above
            wrapped["unary_stream"] = self._streaming(method, stream)
        replace: Callable[..., grpc.RpcMethodHandler[_Request, _Response]] = getattr(handler, "_replace")  # noqa: B009
        return replace(**wrapped)

    def _answering(self, method: str, serve: Answer, *, checked: bool) -> Answer:
        async def answer(request: Message, context: Context) -> Message:
            with observed(method, context, self._metrics) as call:
                try:
                    await self._admit(call, context)
                    if checked:
                        check(request)
                    return await serve(request, context)
                except Exception as error:
                    await _refuse(call, context, error)
                    raise AssertionError("unreachable: abort raises") from error

        return answer

    def _streaming(self, method: str, serve: Stream) -> Stream:
        async def stream(request: Message, context: Context) -> AsyncIterator[Message]:
            with observed(method, context, self._metrics) as call:
                try:
                    await self._admit(call, context)
                    check(request)
                    async for response in serve(request, context):
                        yield response
                except Exception as error:  # noqa: BLE001 - as above
                    await _refuse(call, context, error)

        return stream

    async def _admit(self, call: Call, context: Context) -> None:
        if f"{PACKAGE}{call.method}" in OPEN_TO_ALL:
            return
        key = await authenticate(context, self._directory)
        caller.set(key)
        call.tenant = key.tenant
        authorize(key, f"{PACKAGE}{call.method}")


async def _refuse(call: Call, context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    told = explain(error)
    call.code, call.message = told.code, told.message
    call.reason = ErrorReason.Name(told.reason).removeprefix("ERROR_REASON_")
    await context.abort_with_status(told.status())
