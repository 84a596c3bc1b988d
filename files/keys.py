"""Where objects lie in the bucket.

`videos/<tenant>/<request id>/<attempt>/<file name>`: an attempt writes where no other one does, and all
objects of a request go with one prefix. `uploads/<tenant>/<id>/<file name>`: a file that a tenant handed in; the id
is drawn at random, or for content that came inline made of its hash. The tenant is written as the lower-case base32 of
its UTF-8 text (RFC 4648, no padding): no two tenants share a prefix, whatever characters they contain.
"""

import base64
import re
from typing import NamedTuple

VIDEOS = "videos/"
"""What the keys of all videos begin with."""
UPLOADS = "uploads/"
"""What the keys of all files begin with that callers handed in."""

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
    return f"{VIDEOS}{_encoded(tenant)}/{_safe(request_id)}/"


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
            return VideoKey(_decoded(encoded), request_id, int(attempt), file_name)
        case _:
            raise ValueError(f"not the key of a video: {key!r}")


def upload_prefix(tenant: str) -> str:
    """What the keys of all files begin with that a tenant handed in, and no others. Raises as `video_key`."""
    return f"{UPLOADS}{_encoded(tenant)}/"


def upload_key(tenant: str, upload_id: str, file_name: str) -> str:
    """The key of a file that a tenant handed in. Raises as `video_key`."""
    return f"{upload_prefix(tenant)}{_safe(upload_id)}/{_safe(file_name)}"


def tenant_prefixes(tenant: str) -> tuple[str, str]:
    """What the keys of all objects of a tenant begin with. Raises as `video_key`."""
    return f"{VIDEOS}{_encoded(tenant)}/", upload_prefix(tenant)


class UploadKey(NamedTuple):
    """What the key of an uploaded file says."""

    tenant: str
    upload_id: str
    file_name: str


def parse_upload_key(key: str) -> UploadKey:
    """What a key that `upload_key` made says. Only the very text that it made is such a key.

    Raises:
        ValueError: it did not.
    """
    match key.removeprefix(UPLOADS).split("/"):
        case [encoded, upload_id, file_name] if key.startswith(UPLOADS):
            tenant = _decoded(encoded)
            if upload_key(tenant, upload_id, file_name) == key:
                return UploadKey(tenant, upload_id, file_name)
    raise ValueError(f"not the key of an uploaded file: {key!r}")


def _encoded(tenant: str) -> str:
    if not tenant:
        raise ValueError("a tenant's name is not empty")
    return _safe(base64.b32encode(tenant.encode()).decode().rstrip("=").lower())


def _decoded(encoded: str) -> str:
    padding = "=" * (-len(encoded) % 8)
    return base64.b32decode(encoded.upper() + padding).decode()


def _safe(segment: str) -> str:
    if not _SAFE_SEGMENT.fullmatch(segment) or len(segment) > _MAX_SEGMENT_BYTES:
        raise ValueError(f"not a part of an object's key: {segment!r}")
    return segment
