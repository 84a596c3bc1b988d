"""The gateway process: HTTP in front of a gRPC service, which may be anywhere."""

from __future__ import annotations

import asyncio
import socket

from gateway.metrics import GatewayMetrics
from gateway.server import serving
from host.metrics import Address, metrics_served, process_registry
from host.serve import check_address
from host.settings import Settings
from host.signals import stop_event, until_stopped
from host.tracing import traced


async def gateway(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ListenError, OSError: the address cannot be listened on, or a certificate cannot be read.
        ValueError: the settings do not go together.
    """
    insecure = settings.insecure or settings.gateway_certificate is not None
    check_address(settings.gateway_listen, insecure=insecure, certificate="COGREEL_GATEWAY_CERTIFICATE")
    await until_stopped(_gateway(settings), stop_event())


async def _gateway(settings: Settings) -> None:
    registry = process_registry()
    address = Address.parse(settings.metrics_listen)
    with traced("gateway", socket.gethostname()), metrics_served(address, registry):
        async with serving(settings.gateway(), GatewayMetrics(registry)):
            await asyncio.Event().wait()  # until it is cancelled
