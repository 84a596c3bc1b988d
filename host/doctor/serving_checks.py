"""Whether the service may listen where it is told to, and what it serves."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

import grpc
from cogreel.cli.findings import Finding, ok, problem, warning
from cogreel.v1.admin_pb2 import ModelCard
from grpc_health.v1 import health_pb2, health_pb2_grpc

from host.serve import ListenError, check_address
from host.settings import Settings
from jobs.cards import CardError, load_card
from service.server import QUEUE_SERVICE

ANSWER_WITHIN_S = 1.5
LISTEN_WHY = "Callers reach the service there."


async def check_listening(settings: Settings) -> list[Finding]:
    """The address: its form, whether it is free, and who can reach it."""
    host, separator, port_text = settings.listen.rpartition(":")
    if not separator or not port_text.isdecimal() or int(port_text) > 65535:
        return [
            problem(
                "listen", f"{settings.listen!r} is not of the form host:port", LISTEN_WHY, "Correct COGREEL_LISTEN."
            )
        ]
    try:
        check_address(settings.listen, insecure=settings.insecure or settings.certificate is not None)
    except ListenError as error:
        found, _, remedy = str(error).partition(": ")
        return [problem("listen", found, "Prompts and API keys would travel in the clear.", remedy.partition(". ")[2])]
    trouble = _trouble_binding(host.strip("[]"), int(port_text))
    if trouble == errno.EADDRINUSE:
        return [await _check_holder(settings.listen, tls=settings.certificate is not None)]
    if trouble:
        return [
            problem(
                "listen",
                f"cannot listen on {settings.listen}: {errno.errorcode.get(trouble, trouble)}",
                LISTEN_WHY,
                "Use an address of this machine (0.0.0.0 for all of them), and a port above 1023.",
            )
        ]
    return [_check_certificate(settings) if settings.certificate is not None else _check_without_tls(settings)]


def _trouble_binding(host: str, port: int) -> int:
    """The error number of trying to listen; 0 if that works."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _check_without_tls(settings: Settings) -> Finding:
    if settings.insecure:
        return warning(
            "listen",
            f"{settings.listen} may be reached from other machines, without TLS (COGREEL_INSECURE)",
            "Prompts and API keys can be read on the way.",
            "Give it a certificate, COGREEL_CERTIFICATE; or let only a proxy that speaks TLS reach it.",
        )
    return ok("listen", f"{settings.listen} is free")


def _check_certificate(settings: Settings) -> Finding:
    try:
        settings.server()
    except ValueError as error:
        return problem(
            "listen", str(error), "The service does not start without a certificate that fits.", "Correct the file."
        )
    callers = "by callers with a certificate" if settings.client_ca_file else "by TLS"
    return ok("listen", f"{settings.listen} is free, to be reached {callers}")


async def _check_holder(address: str, *, tls: bool) -> Finding:
    """Who has the port: a service of ours that runs already, or something else."""
    if tls:
        return ok("listen", f"a program listens on {address} already; `cogreeld health https://…` asks it what it is")
    state = await health(address)
    if state is not None:
        return ok("listen", f"a CogReel service listens on {address} already, and is {state}")
    return problem(
        "listen",
        f"another program has the port of {address}",
        LISTEN_WHY,
        f"Stop it (`ss -ltnp 'sport = :{address.rpartition(':')[2]}'` names it), or choose another port: --port of "
        "`cogreeld up`, --listen of `cogreeld serve`.",
    )


async def health(address: str) -> str | None:
    """What a service says of itself, such as `serving`; None if none answers."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        question = health_pb2.HealthCheckRequest(service=QUEUE_SERVICE)
        try:
            answer = await stub.Check(question, timeout=ANSWER_WITHIN_S)  # type: ignore[attr-defined]  # its stubs lack it
        except grpc.aio.AioRpcError:
            return None
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return name.lower().replace("_", " ")


def read_cards(endpoints: Mapping[str, str]) -> tuple[dict[str, ModelCard], list[Finding]]:
    """The card of each endpoint, as far as they can be read, and what is to be said about them."""
    why = "Neither a service nor a worker starts with a card that cannot be read."
    if not endpoints:
        return {}, [problem("endpoints", "COGREEL_ENDPOINTS names none", "Nothing would be served.", "Name one.")]
    cards: dict[str, ModelCard] = {}
    found: list[Finding] = []
    for endpoint, name in endpoints.items():
        try:
            cards[endpoint] = load_card(name)
        except CardError as error:
            remedy = (
                "Name a built-in card (cogvideox-5b, cogreel-small, simulated) or the path of a JSON file like those."
            )
            found.append(problem("endpoints", f"{endpoint}: {error}", why, remedy))
    if cards:
        served = ", ".join(f"{endpoint} by {card.name} at {card.revision}" for endpoint, card in cards.items())
        found.append(ok("endpoints", served))
    return cards, found
