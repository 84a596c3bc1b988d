"""The HTTP server: uvicorn over a socket of ours, for the length of a block."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import structlog
import uvicorn
from cogreel import AsyncCogReel

from gateway.app import application
from gateway.backend import Backend
from gateway.context import Context
from gateway.metrics import GatewayMetrics
from gateway.seals import Seals
from gateway.settings import GatewaySettings
from gateway.store import Store

_BACKLOG = 2048

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: whoever started this process decides when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serves.set()


@asynccontextmanager
async def serving(settings: GatewaySettings, metrics: GatewayMetrics | None = None) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port. Leaving breaks streams off and lets other calls finish.

    Raises:
        OSError: the address cannot be listened on, or the certificate cannot be read.
        ValueError: the service's address makes no sense.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            AsyncCogReel(
                settings.service,
                ca_file=settings.service_ca_file,
                client_certificate_file=settings.service_certificate,
                client_key_file=settings.service_private_key,
                retry_timeout_s=settings.call_timeout_s,
            )
        )
        store = await stack.enter_async_context(Store(settings.store))
        context = Context(settings, Backend(client), Seals(settings.secret), store, metrics or GatewayMetrics())
        listener = stack.enter_context(_listening(settings.listen))
        config = uvicorn.Config(
            application(context),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http="h11",
            timeout_graceful_shutdown=max(1, round(settings.grace_s)),
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.private_key,
        )
        config.load()
        server = _Server(config)
        task = asyncio.create_task(server.serve([listener]), name="http server")
        serves = asyncio.create_task(server.serves.wait())
        await asyncio.wait({task, serves}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        port: int = listener.getsockname()[1]
        _log.info("gateway.listening", address=settings.listen, port=port, tls=settings.certificate is not None)
        try:
            yield port
        finally:
            serves.cancel()
            context.stopping.set()
            server.should_exit = True
            await asyncio.wait({task})


@contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
    except ValueError as error:
        raise OSError(f"cannot listen on {address!r}: it is not of the form host:port") from error
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
        except OSError as error:
            raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        yield listener
