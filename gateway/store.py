"""Passing content on into the object store, by URLs that the service has signed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
from starlette.requests import ClientDisconnect

from gateway.answers import refusal

_SILENCE_S = 60.0


def store_client() -> httpx2.AsyncClient:
    """A client for the store; its owner closes it."""
    return httpx2.AsyncClient(timeout=_SILENCE_S, trust_env=False)


async def put_part(store: httpx2.AsyncClient, url: str, size: int, content: AsyncIterator[bytes]) -> str:
    """Put a part as it comes in; returns its ETag.

    Raises:
        RefusalError: the store refuses it or is out of reach, or the caller sends another size than it said.
        ClientDisconnect: the caller has left.
    """
    try:
        answer = await store.put(url, content=content, headers={"content-length": str(size)})
    except ClientDisconnect:
        raise
    except httpx2.LocalProtocolError as error:
        raise refusal(400, "The body has another size than Content-Length says.", "bad_request") from error
    except httpx2.HTTPError as error:
        raise _out_of_reach() from error
    if answer.status_code >= 500:
        raise _out_of_reach()
    if answer.is_error:
        raise refusal(500, f"The store refused the upload with HTTP status {answer.status_code}.", "internal_error")
    return answer.headers["etag"]


def _out_of_reach() -> Exception:
    return refusal(503, "The store is out of reach; try again.", "runner_connection_error", {"retry-after": "1"})
