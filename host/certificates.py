"""The PEM files that settings name, looked at before anything starts: what is wrong is told with the setting."""

from __future__ import annotations

from pathlib import Path

from service.certificates import CertificateError, PrivateKeyError, read_authorities, read_identity


def identity_files(prefix: str, certificate: Path | None, private_key: Path | None) -> tuple[Path, Path] | None:
    """The files of a certificate and its key, by settings that begin with `prefix`; None where neither is set.

    Raises:
        ValueError: one of both is missing, cannot be used, or does not belong to the other; the message names it.
    """
    names = f"{prefix}CERTIFICATE", f"{prefix}PRIVATE_KEY"
    if certificate is None and private_key is None:
        return None
    if certificate is None or private_key is None:
        raise ValueError(f"{names[0]} and {names[1]} go together")
    try:
        read_identity(certificate, private_key)
    except CertificateError as error:
        name = names[isinstance(error, PrivateKeyError)]
        raise ValueError(f"{name}: {error}") from error
    return certificate, private_key


def authorities_file(name: str, path: Path | None) -> Path | None:
    """The file of authorities that the setting `name` names.

    Raises:
        ValueError: it cannot be used; the message names the setting.
    """
    if path is not None:
        try:
            read_authorities(path)
        except CertificateError as error:
            raise ValueError(f"{name}: {error}") from error
    return path
