"""TLS of the gRPC server: its certificate, and whose certificates callers must show.

The files are looked at for each new connection and read again when they have changed, so that a rotated certificate
needs no restart; connections that are open go on with the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from service.certificates import CertificateError, read_authorities, read_identity

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files. With `client_authorities`, only callers are served whose certificate is signed by one of them."""

    certificate: Path
    private_key: Path
    client_authorities: Path | None = None


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """What a secure port is opened with.

    Raises:
        CertificateError: a file cannot be used.
    """
    files = _Files(tls)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.read_if_changed,  # type: ignore[arg-type]  # None is for "as before", which its stubs lack
        require_client_authentication=tls.client_authorities is not None,
    )


class _Files:
    """The files as they were when they were last read."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        paths = (tls.certificate, tls.private_key, tls.client_authorities)
        self._paths = tuple(path for path in paths if path is not None)
        self._seen = self._stamps()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold. Raises as `server_credentials`."""
        identity = read_identity(self._tls.certificate, self._tls.private_key)
        authorities = self._tls.client_authorities
        return grpc.ssl_server_certificate_configuration(
            [(identity.private_key, identity.chain)], read_authorities(authorities) if authorities else None
        )

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What the files hold now; None where that is as before, or cannot be used."""
        stamps = self._stamps()
        if stamps == self._seen:
            return None
        self._seen = stamps
        try:
            changed = self.read()
        except CertificateError as error:  # one file is replaced before the other, perhaps: it changes once more
            _log.error("certificate.unusable", cause=str(error))
            return None
        _log.info("certificate.changed", path=str(self._tls.certificate))
        return changed

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()  # of what a link leads to: Kubernetes exchanges the link
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
