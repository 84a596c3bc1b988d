"""Decodes what the service says about an error: google.rpc.Status in the trailing metadata of a call."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from cogreel.errors import CogReelError, ErrorDetails, Violation, typed_error

# The contract's ErrorInfo.domain: reasons of other domains (a proxy, a cloud load balancer) are not ours to read.
ERROR_DOMAIN = "cogreel.v1"

_STATUS_KEY = "grpc-status-details-bin"


def error_from_rpc(error: grpc.RpcError, *, request_id: str | None = None) -> CogReelError:
    """The exception for a failed call, of the synchronous or the asyncio gRPC API.

    `request_id` is the request that the call was about, for the exception to carry.
    """
    # Pairs in both APIs, whatever their stubs say; None where no answer came.
    trailing = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    return typed_error(decode_details(error.code(), error.details() or "", trailing), request_id=request_id)


def decode_details(
    code: grpc.StatusCode, message: str, trailing_metadata: Iterable[tuple[str, str | bytes]]
) -> ErrorDetails:
    """Read the error of a call from its code, its message and its trailing metadata.

    Details that cannot be parsed, or that belong to another call's code, leave the code and the message to speak.
    """
    status = _rich_status(trailing_metadata)
    if status is None or status.code != code.value[0]:
        return ErrorDetails(message, code)
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad_request = error_details_pb2.BadRequest()
    resource = error_details_pb2.ResourceInfo()
    present = {
        known.DESCRIPTOR.name
        for known in (info, retry, bad_request, resource)
        for detail in status.details
        if detail.Unpack(known)
    }
    is_ours = info.domain == ERROR_DOMAIN
    return ErrorDetails(
        message=status.message or message,
        code=code,
        reason=info.reason if is_ours else "",
        metadata=dict(info.metadata) if is_ours else {},
        retry_after=_duration(retry) if "RetryInfo" in present else None,
        violations=tuple(Violation(v.field, v.description) for v in bad_request.field_violations),
        resource=resource.resource_name,
    )


def _rich_status(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> status_pb2.Status | None:
    for key, value in trailing_metadata:
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None  # code and message still tell what happened
    return None


def _duration(retry: error_details_pb2.RetryInfo) -> timedelta:
    delay: timedelta = retry.retry_delay.ToTimedelta()
    return max(delay, timedelta(0))
