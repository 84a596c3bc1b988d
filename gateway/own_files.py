"""URLs of uploaded files at the gateway itself, for the client that puts parts below them.

The store's URL stands sealed in the path. Fetching is sent on to it, and a submission is given it instead.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from gateway.context import context_of
from gateway.seals import SealError, Seals

FILE_VALIDITY_S = 365 * 24 * 3600.0  # the service knows how long it keeps the file
_PURPOSE = "file"
_FOLDER = "/files/"


def sealed_file(request: Request, url: str) -> str:
    """The part of a path that stands for a URL of the store."""
    return context_of(request).seals.sealed(_PURPOSE, FILE_VALIDITY_S, {"url": url})


def opened_file(seals: Seals, sealed: str) -> str:
    """The URL of the store.

    Raises:
        SealError: nothing of ours is in there.
    """
    return seals.opened(sealed, _PURPOSE)["url"]


def at_the_store(seals: Seals, url: str) -> str:
    """The URL of the store for one that this gateway has given out; any other as it is."""
    if _FOLDER not in url[:4096]:
        return url
    try:
        _, found, rest = urlsplit(url).path.partition(_FOLDER)
        return opened_file(seals, rest.partition("/")[0]) if found else url
    except (SealError, ValueError):
        return url
