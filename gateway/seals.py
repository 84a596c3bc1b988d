"""Tokens that carry what a later call needs to know, encrypted and signed, so that nothing is kept here.

They are Fernet tokens (https://github.com/fernet/spec) by the library cryptography. Replicas that share a secret read
each other's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken


class SealError(Exception):
    """A token was not made here, is for another purpose, or has expired."""


class Seals:
    """Makes and opens tokens."""

    def __init__(self, secret: bytes) -> None:
        digest = hashlib.sha256(b"cogreel gateway\0" + (secret or secrets.token_bytes(32))).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def sealed(self, purpose: str, validity_s: float, content: Mapping[str, str]) -> str:
        """A token that opens for the same purpose, for so long. It is safe in a path."""
        envelope = {"for": purpose, "until": time.time() + validity_s, "content": dict(content)}
        return self._fernet.encrypt(json.dumps(envelope).encode()).decode().rstrip("=")

    def opened(self, token: str, purpose: str) -> dict[str, str]:
        """The content of a token.

        Raises:
            SealError: it does not open.
        """
        try:
            envelope = json.loads(self._fernet.decrypt(token + "=" * (-len(token) % 4)))
        except (InvalidToken, ValueError) as error:
            raise SealError("it was not made here") from error
        if envelope["for"] != purpose:
            raise SealError("it was made for something else")
        if envelope["until"] < time.time():
            raise SealError("it has expired")
        content: dict[str, str] = envelope["content"]
        return content
