"""Passing content on into the object store, by URLs that the service has signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import httpx2
from starlette.requests import ClientDisconnect

from gateway.answers import UpstreamFailedError, refusal

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
        headers = {"content-length": str(size), **_signed_host(signed_url)}
        return await self._client.put(self._reached(signed_url), content=content, headers=headers)

    async def get(self, signed_url: str) -> httpx2.Response:
        """Begin to get what a signed URL names; whoever reads the content closes the response."""
        request = self._client.build_request("GET", self._reached(signed_url), headers=_signed_host(signed_url))
        return await self._client.send(request, stream=True)

    def _reached(self, signed_url: str) -> httpx2.URL:
        url = httpx2.URL(signed_url)
        if self._address is None:
            return url
        return url.copy_with(scheme=self._address.scheme, host=self._address.host, port=self._address.port)


def _signed_host(signed_url: str) -> dict[str, str]:
    """The header with the host that a URL is signed for, wherever the connection goes."""
    return {"host": httpx2.URL(signed_url).netloc.decode("ascii")}


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
        raise store_out_of_reach() from error
    if answer.status_code >= 500:
        raise store_out_of_reach()
    if answer.is_error:
        detail = f"The store refused the upload with HTTP status {answer.status_code}."
        raise UpstreamFailedError("store", refusal(500, detail, "internal_error"))
    return answer.headers["etag"]


def store_out_of_reach() -> UpstreamFailedError:
    """What callers are told while the store does not answer."""
    detail = "The store is out of reach; try again."
    return UpstreamFailedError("store", refusal(503, detail, "runner_connection_error", {"retry-after": "1"}))
