"""A port for health checks alone, without TLS: Kubernetes' probes speak none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def health_served(address: str, checks: health.aio.HealthServicer) -> AsyncIterator[None]:
    """Answer at host:port while the block lasts; nowhere, if the address is empty.

    Raises:
        OSError: the address cannot be listened on.
    """
    if not address:
        yield
        return
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address} for health checks: {error}") from error
    await server.start()
    _log.info("health.listening", address=address, port=port)
    try:
        yield
    finally:
        await server.stop(None)
