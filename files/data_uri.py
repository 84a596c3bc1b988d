"""`data:` URIs, strictly: base64 only, bounded, and without anything that is not base64."""

import base64
import binascii
import re

from files.errors import NotADataUriError

_HEAD = re.compile(r"data:(?P<type>[a-z]+/[a-z0-9.+-]+)?(?:;[a-z0-9-]+=[a-z0-9.+_-]+)*;base64", re.IGNORECASE)
_MAX_HEAD = 256


def is_data_uri(url: str) -> bool:
    """Whether a URL has the scheme `data`."""
    return url[:5].lower() == "data:"


def parse_data_uri(url: str, *, max_bytes: int) -> bytes:
    """The content of a base64 data URI (RFC 2397).

    The media type is not handed out: what the bytes are, they say themselves. White space, percent-encoding, the
    URL-safe alphabet and wrong padding are refused.

    Raises:
        NotADataUriError: it is malformed, empty or larger than `max_bytes`.
    """
    head, comma, body = url[:_MAX_HEAD].partition(",")
    if not comma or not _HEAD.fullmatch(head):
        raise NotADataUriError("a data URI must have the form data:<type>;base64,<content>")
    body = url[len(head) + 1 :]
    if len(body) > (max_bytes + 2) // 3 * 4:
        raise NotADataUriError(f"must hold at most {max_bytes} bytes")
    try:
        content = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotADataUriError("the content of the data URI is not valid base64") from error
    if not content:
        raise NotADataUriError("the data URI is empty")
    last = content[-(len(content) % 3 or 3) :]
    if len(body) % 4 or base64.b64encode(last).decode() != body[-4:]:  # wrong padding, or bits behind the end
        raise NotADataUriError("the content of the data URI is not valid base64")
    if len(content) > max_bytes:
        raise NotADataUriError(f"must hold at most {max_bytes} bytes")
    return content
