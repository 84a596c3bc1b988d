"""Passing content on into the object store, by URLs that the service has signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import httpx2
from starlette.requests import ClientDisconnect

from gateway.answers import refusal

_SILENCE_S = 60.0


class Store:
    """The object store, as an async context manager; `address` is where it is reached, empty for where URLs say."""

    def __init__(self, address: str = "") -> None:
        self._address = httpx2.URL(address) if address else None
        self._client = httpx2.AsyncClient(timeout=_SILENCE_S, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def put(self, signed_url: str, size: int, content: AsyncIterator[bytes]) -> httpx2.Response:
        """Put content to a signed URL."""
        url = httpx2.URL(signed_url)
        # The host is part of the signature, wherever the connection goes.
        headers = {"content-length": str(size), "host": url.netloc.decode("ascii")}
        if self._address is not None:
            url = url.copy_with(scheme=self._address.scheme, host=self._address.host, port=self._address.port)
        return await self._client.put(url, content=content, headers=headers)


async def put_part(store: Store, url: str, size: int, content: AsyncIterator[bytes]) -> str:
    """Put a part as it comes in; returns its ETag.

    Raises:
        RefusalError: the store refuses it or is out of reach, or the caller sends another size than it said.
        ClientDisconnect: the caller has left.
    """
    try:
        answer = await store.put(url, size, content)
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
