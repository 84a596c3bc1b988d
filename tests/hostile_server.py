"""An HTTP server on loopback that answers with whatever bytes a test wants, and as slowly."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What is sent as it stands, or what sends it."""


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole answer; `length` is said of the body in place of its own."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """An answer that leads elsewhere."""
    return answer(b"", f"Location: {location}", status=status)


class HostileServer:
    """Serves `answers` by path while it is entered, and remembers the `heads` and `bodies` of all requests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.left = asyncio.Event()
        """Set once a peer has closed its connection while an answer was still being sent."""
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Where `path` is served, under a name of the host's."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            length = re.search(r"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
            self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
            wanted = self.answers[head.split()[1].partition("?")[0]]
            if isinstance(wanted, bytes):
                writer.write(wanted)
                await writer.drain()
            else:
                await wanted(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()


async def endless(writer: asyncio.StreamWriter, beginning: bytes, chunk: bytes, *, pause_s: float = 0.0) -> None:
    """Send a chunk again and again, until the peer has had enough."""
    writer.write(beginning)
    while True:
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(pause_s)


async def silent(_: asyncio.StreamWriter) -> None:
    """Say nothing, for as long as the peer waits."""
    await asyncio.Event().wait()
