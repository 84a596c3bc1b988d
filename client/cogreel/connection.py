"""Where the service is and how to speak to it: address, credentials, channel options."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import grpc

FilePath = str | os.PathLike[str]

# The port that gRPC's own examples use, for a plaintext address without one.
DEFAULT_PORT = 50051
DEFAULT_ADDRESS = f"localhost:{DEFAULT_PORT}"

_TLS_SCHEMES = frozenset({"https", "grpcs"})
_PLAINTEXT_SCHEMES = frozenset({"http", "grpc"})

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A connection that went silent (a pulled cable, a dropped NAT entry) ends in 15 s instead of minutes, as the
    # timeout is also TCP's for unacknowledged packets. Pings go only while a call is open, so an idle client costs
    # nothing; a quiet watch may ping without limit.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # For a peer whose kernel still acknowledges packets (a hung proxy), where gRPC waits a minute by itself. Longer
    # than the above, since a ping queues behind an upload: 4 MiB of socket buffer at 2 Mbit/s take 17 s.
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # As much as the service sends and takes: files travel inline as data URIs. (Sending is unlimited by default.)
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    # While the service is away, calls fail at once between two attempts to connect. gRPC's own 1 s to 120 s would
    # outlast the client's retries.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # This is also how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the service, and as whom."""

    target: str
    """What gRPC dials: `host:port`."""

    secure: bool
    """Whether to use TLS."""

    api_key: str | None = field(repr=False)
    """Sent with every call; None sends none."""

    root_certificates: bytes | None = field(default=None, repr=False)
    """PEM of the certificate authorities to trust; None trusts the public ones."""

    identity: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """PEM of a private key and of its certificate chain, for a service that asks its callers for one."""

    @classmethod
    def resolve(
        cls,
        address: str | None = None,
        api_key: str | None = None,
        ca_file: FilePath | None = None,
        client_certificate_file: FilePath | None = None,
        client_key_file: FilePath | None = None,
    ) -> Connection:
        """From arguments, else from COGREEL_ADDRESS, COGREEL_API_KEY, COGREEL_CA_FILE, COGREEL_CLIENT_CERTIFICATE_FILE
        and COGREEL_CLIENT_KEY_FILE, else localhost.

        Raises:
            ValueError: the address or the key is malformed, a file was given for an address without TLS, or the
                certificate is not one with its key.
            OSError: a file cannot be read.
        """
        target, secure = parse_address(address or os.environ.get("COGREEL_ADDRESS") or DEFAULT_ADDRESS)
        key = _checked(api_key or os.environ.get("COGREEL_API_KEY") or "")
        ca_path = ca_file or os.environ.get("COGREEL_CA_FILE")
        if (ca_file or client_certificate_file or client_key_file) and not secure:
            given = "a CA file" if ca_file else "a client certificate"
            raise ValueError(f"{given} was given, but the address does not ask for TLS: write https://host:port")
        roots = Path(ca_path).read_bytes() if ca_path and secure else None
        certificate = client_certificate_file or os.environ.get("COGREEL_CLIENT_CERTIFICATE_FILE")
        private_key = client_key_file or os.environ.get("COGREEL_CLIENT_KEY_FILE")
        identity = _identity(certificate, private_key) if secure else None
        return cls(target, secure, key, roots, identity)

    def with_api_key(self, api_key: str) -> Connection:
        """The same for another caller; an empty key sends none.

        Raises:
            ValueError: the key is malformed.
        """
        return replace(self, api_key=_checked(api_key))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def tls_credentials(self) -> grpc.ChannelCredentials:
        """What a TLS channel is opened with."""
        key, chain = self.identity or (None, None)
        return grpc.ssl_channel_credentials(self.root_certificates, key, chain)


def _identity(certificate: FilePath | None, private_key: FilePath | None) -> tuple[bytes, bytes] | None:
    """The key and the certificate in two files, which gRPC takes without a word whatever they hold."""
    if not certificate and not private_key:
        return None
    if not certificate or not private_key:
        raise ValueError("a client certificate and its key go together: one of the two files was not given")
    chain, key = Path(certificate).read_bytes(), Path(private_key).read_bytes()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, private_key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(
            f"{certificate} and {private_key} are not a certificate in PEM and its key, without a password: {error}"
        ) from error
    return key, chain


def _checked(api_key: str) -> str | None:
    key = api_key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key contains characters that no key has: was it copied whole, and alone?")
    return key or None


def parse_address(address: str) -> tuple[str, bool]:
    """The target to dial and whether to use TLS.

    `https://` and `grpcs://` mean TLS; `http://`, `grpc://` and a bare `host:port` mean plaintext. A port left out is
    443 with TLS and 50051 without. `unix:path` is a Unix socket.

    Raises:
        ValueError: the address has another form.
    """
    if address.startswith("unix:"):
        return address, False
    scheme, separator, rest = address.strip().rpartition("://")
    if separator and scheme not in _TLS_SCHEMES | _PLAINTEXT_SCHEMES:
        raise ValueError(f"the address {address!r} begins with {scheme}://: use https:// for TLS, or none")
    secure = scheme in _TLS_SCHEMES
    parts = urlsplit(f"//{rest}")
    try:
        port = parts.port or (443 if secure else DEFAULT_PORT)
    except ValueError as error:
        raise ValueError(f"the address {address!r} has no valid port") from error
    if not parts.hostname or parts.username is not None or parts.path not in {"", "/"} or parts.query:
        raise ValueError(f"the address {address!r} is not of the form host:port or https://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", secure
