"""What a file is, by its first bytes: callers' words for it are hints."""

import struct
from typing import NamedTuple

import filetype

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""What is taken where a picture is wanted."""
VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/webm")
"""What is taken where a video is wanted."""
SAFETENSORS = "application/x-safetensors"
UNKNOWN = "application/octet-stream"
"""What callers say who do not know; it agrees with any content."""
UPLOAD_TYPES = (*IMAGE_TYPES, *VIDEO_TYPES, SAFETENSORS, UNKNOWN)
"""What may be uploaded."""

HEAD_BYTES = 4096
"""How much of a file `sniff` needs."""


class Accepted(NamedTuple):
    """What is taken as an input of one kind: what people call it, its types, and the largest."""

    name: str
    types: tuple[str, ...]
    max_bytes: int


ACCEPTED = {
    "picture": Accepted("a picture", IMAGE_TYPES, 32 * 1024**2),
    "video": Accepted("a video", VIDEO_TYPES, 256 * 1024**2),
    "lora": Accepted("weights in safetensors format", (SAFETENSORS,), 1024**3),
}
"""By the kind of file that a field of the contract wants."""

_MAX_SAFETENSORS_HEADER = 100_000_000  # the format's own bound
_ONE_FAMILY = frozenset({"video/mp4", "video/quicktime"})  # one container, told apart by a brand that many get wrong


def sniff(head: bytes) -> str | None:
    """The MIME type of a file that begins with `head`; None if it is of no known kind."""
    if len(head) > 9:
        (header_bytes,) = struct.unpack("<Q", head[:8])
        if 2 <= header_bytes <= _MAX_SAFETENSORS_HEADER and head[8:10] in {b'{"', b"{}", b"{ "}:
            return SAFETENSORS
    found: str | None = filetype.guess_mime(head)
    return found


def agree(declared: str, found: str | None) -> bool:
    """Whether a file that was said to be `declared` may be what it is."""
    return declared in {UNKNOWN, found} or {declared, found} <= _ONE_FAMILY
