"""Where objects lie in the bucket.

`videos/<tenant>/<request id>/<attempt>/<file name>`: an attempt writes where no other one does, and all
objects of a request go with one prefix. The tenant is written as the lower-case base32 of its UTF-8 text
(RFC 4648, no padding): no two tenants share a prefix, whatever characters they contain.
"""

import base64
import re
from typing import NamedTuple

VIDEOS = "videos/"
"""What the keys of all videos begin with."""

_SAFE_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
# Object stores that keep keys as paths allow 255 bytes between two slashes.
_MAX_SEGMENT_BYTES = 255


def video_key(tenant: str, request_id: str, attempt: int, file_name: str) -> str:
    """The key of a file that an attempt of a request made.

    Raises:
        ValueError: the tenant is empty or above 159 bytes of UTF-8; the request id or the file name is empty,
            above 255 bytes, or has characters other than ASCII letters, digits, `_`, `-` and, but for the
            first one, `.`; or the attempt is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1, not {attempt}")
    return f"{request_prefix(tenant, request_id)}{attempt}/{_safe(file_name)}"


def request_prefix(tenant: str, request_id: str) -> str:
    """What the keys of all files that a request made begin with, and no others. Raises as `video_key`."""
    if not tenant:
        raise ValueError("a tenant's name is not empty")
    encoded = base64.b32encode(tenant.encode()).decode().rstrip("=").lower()
    return f"{VIDEOS}{_safe(encoded)}/{_safe(request_id)}/"


class VideoKey(NamedTuple):
    """What the key of a video says."""

    tenant: str
    request_id: str
    attempt: int
    file_name: str


def parse_video_key(key: str) -> VideoKey:
    """What a key that `video_key` made says.

    Raises:
        ValueError: it did not.
    """
    match key.removeprefix(VIDEOS).split("/"):
        case [encoded, request_id, attempt, file_name] if key.startswith(VIDEOS):
            padding = "=" * (-len(encoded) % 8)
            tenant = base64.b32decode(encoded.upper() + padding).decode()
            return VideoKey(tenant, request_id, int(attempt), file_name)
        case _:
            raise ValueError(f"not the key of a video: {key!r}")


def _safe(segment: str) -> str:
    if not _SAFE_SEGMENT.fullmatch(segment) or len(segment) > _MAX_SEGMENT_BYTES:
        raise ValueError(f"not a part of an object's key: {segment!r}")
    return segment
