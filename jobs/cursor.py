"""Cursors: where in a request's events a reader is, as opaque text that any replica understands."""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import DecodeError

from jobs import record_pb2
from jobs.errors import CursorExpiredError, CursorInvalidError


@dataclass(frozen=True, slots=True)
class Place:
    """After the state at `req_seq` and the step or line at `log_seq`, number `log_number` of its attempt."""

    req_seq: int = 0
    log_seq: int = 0
    log_number: int = 0


def created_ns(created: str) -> int:
    """A stream's creation time, from what the server writes, in nanoseconds since 1970."""
    seconds, _, fraction = created.removesuffix("Z").partition(".")
    whole = int(datetime.fromisoformat(f"{seconds}+00:00").timestamp())
    return whole * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def encode(place: Place, *, request_id: str, stream_created: int) -> str:
    """The cursor of a place."""
    cursor = record_pb2.Cursor(
        request_id=uuid.UUID(request_id).bytes,
        stream_created=stream_created,
        req_seq=place.req_seq,
        log_seq=place.log_seq,
        log_number=place.log_number,
    )
    return base64.urlsafe_b64encode(cursor.SerializeToString()).decode().rstrip("=")


def decode(text: str, *, request_id: str, stream_created: int) -> Place:
    """The place of a cursor.

    Raises:
        CursorInvalidError: it is malformed or belongs to another request.
        CursorExpiredError: the stream was made anew since.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = record_pb2.Cursor.FromString(raw)
    except (binascii.Error, DecodeError, ValueError) as error:
        raise CursorInvalidError("the cursor is malformed") from error
    if cursor.request_id != uuid.UUID(request_id).bytes:
        raise CursorInvalidError("the cursor belongs to another request")
    if cursor.stream_created != stream_created:
        raise CursorExpiredError("the queue was set up anew since this cursor was made")
    return Place(cursor.req_seq, cursor.log_seq, cursor.log_number)
