"""A network path that a test can cut: a TCP relay in front of each server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from urllib.parse import SplitResult, urlsplit

from jobs.broker import BrokerSettings


class Link:
    """Relays connections to NATS servers. While it is cut, connections break and no new one comes about."""

    def __init__(self, servers: BrokerSettings) -> None:
        self._servers = servers
        self._relays: list[str] = []
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def settings(self) -> BrokerSettings:
        """How to reach the servers by way of the relays."""
        return replace(self._servers, url=",".join(self._relays))

    def cut(self) -> None:
        """Break all connections, and every new one until the link is mended."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let connections through again."""
        self._cut = False

    async def _relay(self, server: SplitResult, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(server.hostname, server.port)
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
        """Listen on a free port for each server while the block runs."""
        async with AsyncExitStack() as stack:
            for url in self._servers.url.split(","):
                server = urlsplit(url)
                relay = await asyncio.start_server(partial(self._relay, server), "127.0.0.1", 0)
                stack.push_async_callback(relay.wait_closed)
                stack.callback(relay.close)
                credentials = server.netloc.rpartition("@")[0]
                self._relays.append(f"nats://{credentials}@127.0.0.1:{relay.sockets[0].getsockname()[1]}")
            stack.callback(self.cut)
            yield


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
