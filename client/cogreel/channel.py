"""An open channel to the service: its lifetime, and its calls with their retries. The clients are built on it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from cogreel.connection import CHANNEL_OPTIONS, Connection, FilePath
from cogreel.error_details import error_from_rpc
from cogreel.errors import CogReelError
from cogreel.notebook import play_results_in_ipython
from cogreel.retry import OnRetry, Retrying, RetryPolicy
from cogreel.trace_context import with_trace_context

_Response = TypeVar("_Response", bound=Message)
_Stream = TypeVar("_Stream")


class Channel:
    """A channel that threads may share."""

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
        """Prepare a connection; it is opened by the first call.

        Args:
            address: `https://host:port` for TLS, `host:port` for plaintext. Left out, it is COGREEL_ADDRESS, else
                `localhost:50051`.
            api_key: left out, it is COGREEL_API_KEY.
            ca_file: PEM file of the certificate authorities to trust instead of the public ones. Left out, it is
                COGREEL_CA_FILE.
            client_certificate_file: PEM file of a certificate chain of one's own, for a service that asks its callers
                for one. Left out, it is COGREEL_CLIENT_CERTIFICATE_FILE.
            client_key_file: PEM file of its private key. Left out, it is COGREEL_CLIENT_KEY_FILE.
            retry_timeout_s: how long one call may take, retries included; a watch goes on for as long as messages
                come, and waits this long for the service to come back.
            on_retry: called with the error and the pause in seconds, before each pause.

        Raises:
            ValueError: the address, the key or the timeout makes no sense.
            OSError: a PEM file cannot be read.
        """
        play_results_in_ipython()
        self._connection = connection = Connection.resolve(
            address, api_key, ca_file, client_certificate_file, client_key_file
        )
        self._policy = RetryPolicy(retry_timeout_s, on_retry=on_retry)
        self._metadata = connection.metadata
        self._closed = Event()
        self._channel = (
            grpc.secure_channel(connection.target, connection.tls_credentials(), CHANNEL_OPTIONS)
            if connection.secure
            else grpc.insecure_channel(connection.target, CHANNEL_OPTIONS)
        )

    @property
    def _open_channel(self) -> grpc.Channel:
        """What stubs are made of, which gRPC does not survive on a closed channel.

        Raises:
            ValueError: the client is closed.
        """
        if self._closed.is_set():
            raise ValueError("the client is closed")
        return self._channel

    def close(self) -> None:
        """Close the connection; calls that are still open in other threads fail."""
        self._closed.set()
        self._channel.close()

    def with_api_key(self, api_key: str) -> Self:
        """The same client for another caller, over the same connection: for programs that call for many.

        Closing either closes both. An empty key sends none.

        Raises:
            ValueError: the key is malformed.
        """
        other = copy.copy(self)
        other._connection = self._connection.with_api_key(api_key)
        other._metadata = other._connection.metadata
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self,
        method: Callable[..., _Response],
        request: Message,
        request_id: str | None = None,
    ) -> _Response:
        """One call, repeated while that is safe and may help; `request_id` is the request that it is about."""
        retrying = Retrying(self._policy)
        while True:
            try:
                return method(request, metadata=with_trace_context(self._metadata), timeout=retrying.remaining_s)
            except grpc.RpcError as rpc_error:
                pause_s = retrying.delay_after(self._failure(rpc_error, request_id))
            time.sleep(pause_s)

    def _start(self, method: Callable[..., _Stream], request: Message) -> _Stream:
        """Start a stream, out of reach of Ctrl-C.

        gRPC starts a stream, then the thread that reads it. A KeyboardInterrupt between the two would leave `close`
        waiting for that thread for ever; but it is only raised in the main thread.
        """
        metadata = with_trace_context(self._metadata)
        with ThreadPoolExecutor(1) as another_thread:
            return another_thread.submit(method, request, metadata=metadata).result()

    def _failure(self, rpc_error: grpc.RpcError, request_id: str | None) -> CogReelError:
        """What failed, for retries to judge.

        Raises:
            CogReelError: what failed, where this channel has been closed: there is nothing to retry.
        """
        error = error_from_rpc(rpc_error, request_id=request_id)
        if self._closed.is_set():
            raise error from rpc_error
        return error
