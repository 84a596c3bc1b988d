"""As `cogreel.channel`, for asyncio."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from functools import cached_property
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from cogreel.connection import CHANNEL_OPTIONS, Connection, FilePath
from cogreel.error_details import error_from_rpc
from cogreel.notebook import play_results_in_ipython
from cogreel.retry import OnRetry, Retrying, RetryPolicy
from cogreel.trace_context import with_trace_context

_Response = TypeVar("_Response", bound=Message)


class AsyncChannel:
    """A channel for one event loop. Tasks may share it."""

    def __init__(
        self,
        address: str | None = None,
        api_key: str | None = None,
        *,
        ca_file: FilePath | None = None,
        client_certificate_file: FilePath | None = None,
        client_key_file: FilePath | None = None,
        retry_timeout_s: float = 60.0,
        on_retry: OnRetry | None = None,
    ) -> None:
        """Prepare a connection, with the arguments and errors of `CogReel`; it is opened by the first call."""
        play_results_in_ipython()
        self._connection = Connection.resolve(address, api_key, ca_file, client_certificate_file, client_key_file)
        self._policy = RetryPolicy(retry_timeout_s, on_retry=on_retry)
        self._metadata = self._connection.metadata

    async def close(self) -> None:
        """Close the connection; calls that are still open are cancelled."""
        if "_channel" in self.__dict__:
            await self._channel.close()

    def with_api_key(self, api_key: str) -> Self:
        """As `CogReel.with_api_key`. To be called where the event loop runs."""
        _ = self._channel  # which the copy shares
        other = copy.copy(self)
        other._connection = self._connection.with_api_key(api_key)
        other._metadata = other._connection.metadata
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        # Opened by the first call rather than by the constructor: a channel belongs to the running event loop.
        target, secure = self._connection.target, self._connection.secure
        return (
            grpc.aio.secure_channel(target, self._connection.tls_credentials(), CHANNEL_OPTIONS)
            if secure
            else grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
        )

    async def _call(
        self,
        method: Callable[..., Awaitable[_Response]],
        request: Message,
        request_id: str | None = None,
    ) -> _Response:
        """One call, repeated while that is safe and may help; `request_id` is the request that it is about."""
        retrying = Retrying(self._policy)
        while True:
            try:
                return await method(request, metadata=with_trace_context(self._metadata), timeout=retrying.remaining_s)
            except grpc.RpcError as rpc_error:
                pause_s = retrying.delay_after(error_from_rpc(rpc_error, request_id=request_id))
            await asyncio.sleep(pause_s)
