"""TLS for one's own machine: an authority and a certificate for it, by trustme.

The authority is made once for a data directory, so that callers who trust it go on doing so; the certificate is made
anew at each start. Neither is for others: the authority's key lies beside it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import trustme

_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class DevelopmentTls:
    """Where the PEM files are."""

    authority: Path
    """What callers must trust."""
    certificate: Path
    private_key: Path


def development_tls(folder: Path) -> DevelopmentTls:
    """Make what is not there yet.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: what is there is no authority.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = DevelopmentTls(folder / "authority.pem", folder / "certificate.pem", folder / "private-key.pem")
    authority_key = folder / "authority-key.pem"
    if made.authority.is_file() and authority_key.is_file():
        authority = trustme.CA.from_pem(made.authority.read_bytes(), authority_key.read_bytes())
    else:
        authority = trustme.CA(organization_name="CogReel development")
        _write(authority_key, authority.private_key_pem.bytes())
        _write(made.authority, authority.cert_pem.bytes())
    issued = authority.issue_cert(*dict.fromkeys((*_NAMES, socket.gethostname())))
    _write(made.private_key, issued.private_key_pem.bytes())
    _write(made.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return made


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
