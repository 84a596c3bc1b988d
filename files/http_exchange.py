"""One HTTP/1.1 exchange with a server at an address that was checked: no pool, no redirects, no proxies, no cookies.

The connection goes to the address, while TLS and the Host header go by the name. By asyncio and h11 rather than by
urllib3, whose blocking handshakes and headers a server can drip without end: here every wait can be cancelled.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11

from files.errors import FetchFailedError, FetchRefusedError
from files.public_addresses import IPAddress
from files.remote_url import RemoteUrl

_READ_BYTES = 64 * 1024
_MOST_HEADERS_BYTES = 32 * 1024
_MOST_ADDRESSES = 4  # tried one after the other, as long as none can be connected to


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is sent to `url`; a Host header and what ends the connection after the answer are added."""

    url: RemoteUrl
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class HttpAnswer:
    """The head of an answer, and its body as it comes."""

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]], link: _Link) -> None:
        self.status = status
        self._headers = headers
        self._link = link

    def header(self, name: str) -> str | None:
        """A header, where it came once; several are joined by commas, as RFC 9110 has it."""
        values = [value.decode("latin-1") for key, value in self._headers if key == name.lower().encode()]
        return ", ".join(values) if values else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, without its transfer coding, in chunks of at most 64 KiB.

        Raises:
            FetchFailedError: the body broke off or stopped coming.
        """
        while not isinstance(event := await self._link.event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)


@asynccontextmanager
async def exchange(
    request: HttpRequest, addresses: Sequence[IPAddress], tls: ssl.SSLContext, *, idle_s: float
) -> AsyncIterator[HttpAnswer]:
    """Send a request to the first address that can be connected to; the connection lasts as long as the block.

    The whole has no bound in time but the caller's. `idle_s` bounds each silence, and each try to connect.

    Raises:
        FetchRefusedError: the server's certificate is not valid for the host.
        FetchFailedError: no address can be connected to, or what answers does not speak HTTP/1.1.
    """
    url = request.url
    reader, writer = await _connected(url, addresses, tls, idle_s)
    try:
        link = _Link(url, reader, writer, idle_s)
        headers = [("Host", url.authority), ("Connection", "close"), *request.headers]
        if request.method != "GET":
            headers.append(("Content-Length", str(len(request.body))))
        await link.send(h11.Request(method=request.method, target=url.target, headers=headers))
        if request.body:
            await link.send(h11.Data(data=request.body))
        await link.send(h11.EndOfMessage())
        while not isinstance(event := await link.event(), h11.Response):
            pass  # 1xx; however many come, the caller's time ends them
        yield HttpAnswer(event.status_code, list(event.headers), link)
    finally:
        writer.transport.abort()  # a polite end of TLS would wait for the other side


class _Link:
    """A connection, as a sequence of HTTP's events."""

    def __init__(
        self, url: RemoteUrl, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_s: float
    ) -> None:
        self._url = url
        self._reader = reader
        self._writer = writer
        self._idle_s = idle_s
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEADERS_BYTES)

    async def send(self, event: h11.Event) -> None:
        self._writer.write(self._protocol.send(event) or b"")
        try:
            async with asyncio.timeout(self._idle_s):
                await self._writer.drain()
        except TimeoutError as error:
            raise FetchFailedError(f"{self._url.shown} takes no request") from error
        except OSError as error:
            raise FetchFailedError(f"{self._url.shown} broke the connection off") from error

    async def event(self) -> h11.Event:
        """The next event of the answer."""
        await asyncio.sleep(0)  # a body in chunks of one byte must not keep all others from the loop
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self._idle_s):
                    received = await self._reader.read(_READ_BYTES)
                self._protocol.receive_data(received)
        except TimeoutError as error:
            raise FetchFailedError(f"{self._url.shown} sent nothing for {self._idle_s:g} s") from error
        except OSError as error:  # TLS that breaks is one too
            raise FetchFailedError(f"{self._url.shown} broke the connection off") from error
        except h11.RemoteProtocolError as error:
            raise FetchFailedError(f"{self._url.shown} broke off, or its answer is not HTTP/1.1") from error
        if not isinstance(event, h11.Event):  # paused, or closed before the answer's end
            raise FetchFailedError(f"{self._url.shown} broke off, or its answer is not HTTP/1.1")
        return event


async def _connected(
    url: RemoteUrl, addresses: Sequence[IPAddress], tls: ssl.SSLContext, idle_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure = url.scheme == "https"
    cause: OSError | None = None
    for address in addresses[:_MOST_ADDRESSES]:
        try:
            async with asyncio.timeout(idle_s):
                return await asyncio.open_connection(
                    str(address), url.port, ssl=tls if secure else None, server_hostname=url.host if secure else None
                )
        except ssl.SSLCertVerificationError as error:
            raise FetchRefusedError(f"{url.shown} has no valid certificate: {error.verify_message}") from error
        except OSError as error:  # a time that ran out is one too
            cause = error
    raise FetchFailedError(f"{url.shown} cannot be connected to") from cause
