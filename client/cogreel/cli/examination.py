"""The steps of `cogreel doctor`. Each stands on the one before: the first that fails ends the way."""

from __future__ import annotations

import os
import platform
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata
from urllib.parse import urlsplit

import grpc

from cogreel.cli.dialling import DIAL_WITHIN_S, dial
from cogreel.cli.error_report import report
from cogreel.cli.findings import Finding, Verdict, ok, problem, warning
from cogreel.cli.session import Session
from cogreel.connection import CHANNEL_OPTIONS, Connection
from cogreel.error_details import error_from_rpc
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2_grpc import QueueServiceStub

ANSWER_WITHIN_S = 5.0
EXPIRES_SOON_S = 14 * 24 * 3600
CLOCK_TOLERATED_S = 5.0
QUEUE_SERVICE = queue_pb2.DESCRIPTOR.services_by_name["QueueService"].full_name

_SHOWN = ("cogreel", "grpcio", "protobuf", "googleapis-common-protos")
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # those that gRPC reads, in this order
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
_NO_WAY = "No call reaches the service."
_HEALTH_NAMES = {0: "unknown", 1: "serving", 2: "not serving", 3: "unknown to it"}


def examine(session: Session) -> list[Finding]:
    """What every step found, up to the first problem on the way."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its notices would stand between the findings
    found = [_packages()]
    try:
        connection = Connection.resolve(
            session.address,
            session.api_key,
            session.ca_file,
            session.client_certificate_file,
            session.client_key_file,
        )
    except (ValueError, OSError) as error:
        remedy = "Write --address, or COGREEL_ADDRESS, as https://host:port for TLS, or host:port."
        return [*found, problem("address", str(error), _NO_WAY, remedy)]
    speaks = "with TLS" if connection.secure else "without TLS"
    found.append(ok("address", f"{connection.target}, {speaks}"))
    for finding in _way(connection, session.address):
        found.append(finding)
        if finding.verdict is Verdict.PROBLEM:
            break
    return found


def _packages() -> Finding:
    versions = [f"{name} {metadata.version(name)}" for name in _SHOWN]
    contract = queue_pb2.DESCRIPTOR.package
    return ok("packages", f"{', '.join(versions)}; contract {contract}; Python {platform.python_version()}")


def _way(connection: Connection, address: str) -> Iterator[Finding]:
    yield from _proxy(connection)
    if not connection.target.startswith("unix:"):
        yield _dialled(connection)
    if connection.secure:
        yield _tls(connection)
    channel = (
        grpc.secure_channel(connection.target, connection.tls_credentials(), CHANNEL_OPTIONS)
        if connection.secure
        else grpc.insecure_channel(connection.target, CHANNEL_OPTIONS)
    )
    with channel:
        yield _health(channel, connection)
        yield from _key(channel, connection, address)


def _host_and_port(connection: Connection) -> tuple[str, int]:
    parts = urlsplit(f"//{connection.target}")
    return parts.hostname or "", parts.port or 0


def _proxy(connection: Connection) -> Iterator[Finding]:
    """gRPC goes through the proxy of the environment, also to this machine itself, and not every proxy lets it."""
    host, _ = _host_and_port(connection)
    named = next((name for name in _PROXIES if os.environ.get(name)), None)
    exceptions = next((os.environ[name] for name in _NO_PROXIES if os.environ.get(name)), "")
    excepted = any(host.endswith(part.strip().lstrip("*.")) for part in exceptions.split(",") if part.strip())
    if named is not None and not excepted:
        yield warning(
            "proxy",
            f"calls go through the proxy of {named}",
            "A proxy that does not pass HTTP/2 on, or does not reach the service, breaks every call.",
            f"If the service should be called directly: export no_grpc_proxy={host}",
        )


def _dialled(connection: Connection) -> Finding:
    host, port = _host_and_port(connection)
    unreachable = dial(host, port)
    if unreachable is not None:
        return problem("connection", unreachable.found, _NO_WAY, f"{unreachable.remedy} (--address, COGREEL_ADDRESS)")
    return ok("connection", f"{connection.target} accepts connections")


def _tls(connection: Connection) -> Finding:
    host, port = _host_and_port(connection)
    context = ssl.create_default_context(
        cadata=connection.root_certificates.decode() if connection.root_certificates else None
    )
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), timeout=DIAL_WITHIN_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
            protocol = secured.selected_alpn_protocol()
    except ssl.SSLCertVerificationError as error:
        remedy = (
            "An authority of your own is named by --ca-file or COGREEL_CA_FILE; a certificate must be made for the "
            "name in the address; a clock that is wrong makes valid certificates look expired."
        )
        return problem("tls", f"the certificate is not trusted: {error.verify_message}", _NO_WAY, remedy)
    except ssl.SSLError as error:
        remedy = f"Does it speak TLS at all? Without TLS the address is {connection.target}, without https://."
        return problem("tls", f"no TLS connection comes about ({error.reason or error})", _NO_WAY, remedy)
    except OSError as error:
        return problem("tls", f"the connection broke during the handshake: {error}", _NO_WAY, "Try again.")
    if protocol != "h2":
        remedy = "Let the proxy in front of the service speak HTTP/2 (ALPN h2)."
        return problem("tls", "the server does not offer HTTP/2", "gRPC is HTTP/2.", remedy)
    expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    until = f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%d}"
    if expires - time.time() < EXPIRES_SOON_S:
        why = "From then on every call fails."
        return warning("tls", f"the certificate expires on {until}", why, "Tell the service's operator.")
    return ok("tls", f"the certificate is trusted, and valid until {until}")


def _health(channel: grpc.Channel, connection: Connection) -> Finding:
    # The two messages of grpc.health.v1 are a text and a number: that is no reason for a further package.
    name = QUEUE_SERVICE.encode()
    check: grpc.UnaryUnaryMultiCallable[bytes, int] = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda text: b"\x0a" + bytes([len(text)]) + text,
        response_deserializer=lambda answer: answer[1] if answer else 0,
    )
    try:
        status = check(name, timeout=ANSWER_WITHIN_S)
    except grpc.RpcError as error:
        return _no_health(error, connection)
    state = _HEALTH_NAMES.get(status, "unknown")
    if state == "serving":
        return ok("service", "healthy")
    remedy = "Wait a moment and try again; if it lasts, tell the service's operator: is NATS out of its reach?"
    return problem("service", f"it says that it is {state}", "It is there, and takes no calls for now.", remedy)


def _no_health(error: grpc.RpcError, connection: Connection) -> Finding:
    code = error.code()
    if code in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}:
        remedy = "Is this the port of the CogReel service? Another gRPC service may have it."
        return problem("service", "what answers is not a CogReel service", _NO_WAY, remedy)
    if not connection.secure and _speaks_tls(connection):
        remedy = f"Write the address as https://{connection.target}"
        return problem("service", "the server speaks TLS, but the address does not ask for it", _NO_WAY, remedy)
    remedy = "Is this the port of the CogReel service? A proxy on the way must pass HTTP/2 on."
    return problem("service", f"no answer of gRPC: {code.name}: {error.details()}", _NO_WAY, remedy)


def _speaks_tls(connection: Connection) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(_host_and_port(connection), timeout=DIAL_WITHIN_S) as plain:
            context.wrap_socket(plain).close()
    except OSError:
        return False
    return True


def _key(channel: grpc.Channel, connection: Connection, address: str) -> Iterator[Finding]:
    why = "Every call but health needs one."
    if connection.api_key is None:
        yield problem(
            "api key", "there is none", why, "Set COGREEL_API_KEY; operators make keys by `cogreeld keys create`."
        )
        return
    began = time.time()
    try:
        _, call = QueueServiceStub(channel).ListRequests.with_call(
            queue_pb2.ListRequestsRequest(page_size=1), metadata=connection.metadata, timeout=ANSWER_WITHIN_S
        )
    except grpc.RpcError as refused:
        told = report(error_from_rpc(refused), address)
        yield problem("api key", f"{told.happened}: {'; '.join(told.reasons)}", why, told.advice)
        return
    yield ok("api key", "accepted")
    yield _clock(call.initial_metadata() or (), (began + time.time()) / 2)


def _clock(initial_metadata: Sequence[tuple[str, str | bytes]], ours: float) -> Finding:
    """gRPC sends no time of its own; most proxies add a date."""
    date = dict(initial_metadata).get("date")
    if not isinstance(date, str):
        return ok(
            "clock", "not compared, as no time came with the answer; most proxies in front of a service would add it"
        )
    ahead_s = ours - parsedate_to_datetime(date).timestamp()
    if abs(ahead_s) <= CLOCK_TOLERATED_S:
        return ok("clock", f"agrees with that of the service, within {CLOCK_TOLERATED_S:g} s")
    side = "ahead of" if ahead_s > 0 else "behind"
    why = "Times and remaining times look wrong here, and a certificate may seem expired."
    return warning("clock", f"the clock here is {abs(ahead_s):.0f} s {side} the service's", why, "Set it, by NTP.")
