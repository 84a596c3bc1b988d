"""A network path that a test can cut: a TCP relay in front of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Link:
    """Relays connections to a NATS server. While it is cut, connections break and no new one comes about."""

    def __init__(self, server_url: str) -> None:
        self._server_url = urlsplit(server_url)
        self._port = 0
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """What a client connects to instead of the server."""
        credentials = self._server_url.netloc.rpartition("@")[0]
        return f"nats://{credentials}@127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break all connections, and every new one until the link is mended."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let connections through again."""
        self._cut = False

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(self._server_url.hostname, self._server_url.port)
        ends = {writer, server_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, server_writer))
                group.create_task(_pump(server_reader, writer))
        finally:
            self._writers -= ends

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen on a free port while the block runs."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()
            await server.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, until either side ends or breaks off; then break off the other."""
    try:
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # either side went away, which is what a cut does
    finally:
        writer.transport.abort()
