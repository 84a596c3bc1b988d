"""What a gateway must know; `host.settings` fills it from the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_BODY_BYTES = 31 * 1024**2  # a submission must fit into a gRPC message of 32 MiB, data URIs included


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How to serve, and for which service."""

    service: str = "127.0.0.1:50051"
    """The gRPC service: host:port, or https://host:port for TLS."""
    service_ca_file: Path | None = None
    """PEM of the authorities to trust for it; None trusts the public ones."""
    service_certificate: Path | None = None
    """PEM of the certificate chain to show it, where it asks for one."""
    service_private_key: Path | None = None
    """PEM of its key."""
    store: str = ""
    """Where the gateway reaches the object store, such as http://minio:9000; empty for where its callers do."""
    listen: str = "127.0.0.1:8080"
    """Where to listen, host:port; port 0 for any free one."""
    certificate: Path | None = None
    """PEM of the certificate chain to serve TLS with; None serves plain HTTP."""
    private_key: Path | None = None
    """PEM of its key."""
    public_url: str = ""
    """What callers put before the paths, if a proxy stands in between; empty takes it from each call."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call; `*` is any."""
    max_body_bytes: int = MAX_BODY_BYTES
    """Bytes that a submission may have."""
    secret: bytes = field(default=b"", repr=False)
    """Seals upload URLs and tokens; replicas share it. Empty draws one, which ends with the process."""
    proxy_api_key: str = field(default="", repr=False)
    """The key for calls to the proxy path that bring none; empty refuses them."""
    call_timeout_s: float = 20.0
    """Seconds for which a call is repeated while the service is out of reach."""
    keep_alive_s: float = 15.0
    """Seconds for which a status stream may be silent before a comment is sent."""
    grace_s: float = 5.0
    """Seconds for which calls may finish when the gateway stops."""
