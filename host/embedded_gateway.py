"""The gateway as one of the children of `cogreeld up`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from host.children import ChildSpec, KeptChild
from host.development_tls import DevelopmentTls, development_tls
from host.engines.errors import PortInUseError
from host.engines.ports import choose_ports, is_free
from host.settings import Settings

HTTP_PORT = 8080
_READY_S = 30.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class EmbeddedGateway:
    """A gateway to start, and how it is reached."""

    child: KeptChild
    url: str
    tls: DevelopmentTls | None


def embedded_gateway(
    settings: Settings, data_dir: Path, *, port: int, https: bool, metrics_listen: str
) -> EmbeddedGateway:
    """Prepare the gateway of a tree whose service listens where `settings` say; `port` 0 means any free one.

    Raises:
        PortInUseError: the port is taken.
        OSError, ValueError: the development certificate cannot be made.
    """
    if port and not is_free(port):
        raise PortInUseError(port)
    port = port or choose_ports(["http"])["http"]
    tls = development_tls(data_dir / "tls") if https else None
    changes: dict[str, object] = {
        "gateway_listen": f"127.0.0.1:{port}",
        "gateway_service": settings.listen,
        "metrics_listen": metrics_listen,
    }
    if not settings.gateway_secret.get_secret_value():
        changes["gateway_secret"] = SecretStr(_secret(data_dir / "gateway-secret"))
    if tls is not None:
        changes |= {"gateway_certificate": tls.certificate, "gateway_private_key": tls.private_key}
    settings = settings.model_copy(update=changes)
    child = KeptChild(
        ChildSpec(
            name="gateway",
            argv=(sys.executable, "-m", "host.cli", "gateway"),
            log_path=data_dir / "logs/gateway.log",
            env=settings.environment(),
            stop_timeout_s=settings.shutdown_grace_s + 5,
        ),
        ready=lambda _child: _until_it_listens(port),
        ready_timeout_s=_READY_S,
    )
    scheme = "https" if settings.gateway_certificate is not None else "http"
    return EmbeddedGateway(child, f"{scheme}://127.0.0.1:{port}", tls)


def _secret(path: Path) -> str:
    """What seals upload URLs on this machine: made once, so that they outlive a restart."""
    if not path.is_file():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8").strip()


async def _until_it_listens(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(_LOOK_EVERY_S)
