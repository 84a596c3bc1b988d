"""Ports without TLS, beside that of the callers: for probes and for KEDA, which bring no certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def plain_port(
    address: str,
    register: Callable[[grpc.aio.Server], object],
    *,
    name: str,
    purpose: str,
    grace_s: float | None = None,
) -> AsyncIterator[None]:
    """Serve at host:port, while the block lasts, what `register` adds; calls then have `grace_s` seconds to end.

    `name` begins the line that is logged.

    Raises:
        OSError: the address cannot be listened on; the message names the purpose.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    register(server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address} for {purpose}: {error}") from error
    await server.start()
    _log.info(f"{name}.listening", address=address, port=port)
    try:
        yield
    finally:
        await server.stop(grace_s)


@asynccontextmanager
async def health_served(address: str, checks: health.aio.HealthServicer) -> AsyncIterator[None]:
    """Answer health checks at host:port while the block lasts; nowhere, if the address is empty.

    Raises:
        OSError: the address cannot be listened on.
    """
    if not address:
        yield
        return

    def register(server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)

    async with plain_port(address, register, name="health", purpose="health checks"):
        yield
