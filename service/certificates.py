"""Certificates and keys in PEM files: read whole, and held against one another before anybody is served by them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


class CertificateError(ValueError):
    """A file is not there, cannot be read, or is not what it should be."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.problem = problem


class PrivateKeyError(CertificateError):
    """It is the file of the key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate chain and its key, as PEM."""

    chain: bytes
    private_key: bytes = field(repr=False)


def read_identity(certificate: Path, private_key: Path) -> Identity:
    """A certificate chain with the key that belongs to it.

    Raises:
        PrivateKeyError: the key cannot be used, or is that of another certificate.
        CertificateError: the certificate cannot be used.
    """
    chain = _read(certificate)
    owner = _certificates(certificate, chain)[0].public_key()
    try:
        key = _read(private_key)
    except CertificateError as error:
        raise PrivateKeyError(private_key, error.problem) from error
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
    except TypeError as error:
        raise CertificateError(
            private_key, "holds a key that wants a password, which nobody is there to type"
        ) from error
    except ValueError as error:
        raise PrivateKeyError(private_key, "holds no private key in PEM") from error
    if _comparable(loaded.public_key()) != _comparable(owner):
        raise PrivateKeyError(private_key, f"holds the key of another certificate than the one in {certificate}")
    return Identity(chain, key)


def read_authorities(path: Path) -> bytes:
    """The certificates of authorities, as PEM.

    Raises:
        CertificateError: the file cannot be used.
    """
    content = _read(path)
    _certificates(path, content)
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(path, f"cannot be read: {error.strerror or error}") from error


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateError(path, "holds no certificate in PEM") from error


def _comparable(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
