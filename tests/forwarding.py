"""A proxy on loopback that passes bytes on to a server, or to one of several, and ends TLS if it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle


@asynccontextmanager
async def forwarding(*ports: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Forward to ports of 127.0.0.1 while the block lasts; gives the port of the proxy.

    As a balancer in front of replicas does, it takes them in turn, and leaves out those that accept no connection.
    """
    turn = cycle(ports)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass  # one side is gone, which the other is told
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in [next(turn) for _ in ports]:
            try:
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
            return
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield int(server.sockets[0].getsockname()[1])
