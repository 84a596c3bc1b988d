"""The service process: the gRPC server over the broker and the store."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from cogreel.v1.admin_pb2 import ModelCard

from files import ObjectStore
from host.metrics import Address, metrics_served, process_registry
from host.settings import Settings
from host.signals import stop_event, until_stopped
from host.tracing import traced
from jobs.broker import Broker
from jobs.errors import StreamEndedError
from jobs.metrics import QueueMetrics
from service.metrics import ServiceMetrics
from service.server import serving

RETRY_S = 1.0


class ListenError(Exception):
    """The address may not be listened on."""


def check_address(listen: str, *, insecure: bool, certificate: str = "COGREEL_CERTIFICATE") -> None:
    """Refuse to listen beyond this machine without TLS, unless that is said to be meant.

    `certificate` is the setting that turns TLS on, to be named in the error.

    Raises:
        ListenError: the address is not a loopback address, and `insecure` is not set.
    """
    host = listen.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not insecure:
        raise ListenError(
            f"{listen} can be reached from other machines, and this server speaks no TLS: prompts and API "
            f"keys would travel in the clear. Give it a certificate ({certificate} and its key), or put a TLS proxy in "
            "front and listen on 127.0.0.1, or say --insecure."
        )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        BrokerUnavailableError: NATS cannot be reached.
        StreamEndedError: the queue can be followed no more, as when it was set up anew.
        CardError: a model card cannot be read.
        ListenError, OSError: the address cannot be listened on.
        ValueError: a certificate cannot be used.
    """
    check_address(settings.listen, insecure=settings.insecure or settings.certificate is not None)
    settings.server()  # whether the certificates can be used, before anything is connected to
    cards = settings.cards()
    await until_stopped(_serve(settings, cards), stop_event())


async def _serve(settings: Settings, cards: dict[str, ModelCard]) -> None:
    registry = process_registry()
    address = Address.parse(settings.metrics_listen)
    with traced("service", socket.gethostname()), metrics_served(address, registry):
        async with Broker(settings.broker("service"), QueueMetrics(registry)) as broker:
            store = ObjectStore(settings.store())
            lost = asyncio.Event()
            metrics = ServiceMetrics(registry)
            async with serving(settings.server(), broker, store, cards, metrics=metrics, on_lost=lost.set):
                await lost.wait()
            raise StreamEndedError("the queue can be followed no more; the log says why. Start again")
