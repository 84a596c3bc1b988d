"""Reading what a caller sends, no more of it than is allowed."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from starlette.requests import Request

from gateway.answers import Problem, invalid, refusal

_SURROGATE = re.compile(rb"\\u[dD]")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        RefusalError: it is larger than that.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(content)


def json_object(content: bytes) -> dict[str, object]:
    """The JSON object of a body; an empty body is an empty object, since clients send none for no input.

    Raises:
        RefusalError: it is something else.
    """
    if not content.strip():
        return {}
    try:
        value = json.loads(content, parse_constant=_no_number)
        if _SURROGATE.search(content):
            json.dumps(value, ensure_ascii=False).encode()  # half a character fits into no message
    except (ValueError, RecursionError) as error:
        raise invalid([Problem(("body",), f"must be JSON: {error}", "json_invalid")]) from error
    if not isinstance(value, dict):
        raise invalid([Problem(("body",), "must be a JSON object", "dict_type")])
    return value


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _too_large(max_bytes: int) -> Exception:
    return refusal(413, f"The body may have {max_bytes} bytes at most; upload files and name them by URL.")
