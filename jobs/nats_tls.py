"""TLS to NATS: whom to trust, and by which certificate to be known.

A certificate that was replaced is read again before each further connection, so that one can be rotated.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NatsTls:
    """PEM files, and how to begin.

    `authorities` are those to trust instead of the public ones. `certificate` with `private_key` is what a server that
    asks is shown. With `first`, TLS begins before the server has said a word: nobody in between can talk us out of it.
    """

    authorities: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    first: bool = False

    @property
    def wanted(self) -> bool:
        """Whether anything differs from what the client library does by itself for a `tls://` address."""
        return self.first or self.authorities is not None or self.certificate is not None


class TlsContext:
    """What the connections of one client are made with: `ssl` is None where what the client library has will do."""

    def __init__(self, tls: NatsTls) -> None:
        """Read the files.

        Raises:
            OSError: a file cannot be read, or is not what it should be.
        """
        self._tls = tls
        self.ssl = ssl.create_default_context(cafile=tls.authorities) if tls.wanted else None
        self._read_certificate()

    def read_again(self) -> None:
        """Let the next handshakes show the certificate as it is now; one that cannot be read leaves the one before."""
        try:
            self._read_certificate()
        except OSError as error:  # in the middle of its replacement, perhaps
            _log.error("broker.certificate_unreadable", cause=str(error))

    def _read_certificate(self) -> None:
        if self.ssl is not None and self._tls.certificate is not None:
            self.ssl.load_cert_chain(self._tls.certificate, self._tls.private_key)
