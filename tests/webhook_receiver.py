"""A receiver of webhooks on loopback, which keeps what it gets and checks signatures as receivers of the hosted
service do: by libsodium, of which the service knows nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from types import TracebackType
from typing import Any, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from tests.hostile_server import HostileServer, answer
from tests.waiting import until


class Receiver:
    """Answers 200 at `/hook` unless told otherwise by `server.answers`."""

    def __init__(self) -> None:
        self.server = HostileServer()
        self.server.answers["/hook"] = answer()

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.server.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        """Where webhooks are taken."""
        return self.server.url("/hook")

    @property
    def count(self) -> int:
        """How many POSTs have come whole."""
        return len(self.server.bodies)

    async def got(self, count: int, *, within_s: float = 20.0) -> None:
        """Wait until so many POSTs have come."""
        await until(lambda: self.count >= count, within_s=within_s)

    def headers(self, number: int) -> dict[str, str]:
        """The headers of a POST, by their names in lower case."""
        found = re.findall(r"^([\w-]+): (.*)\r$", self.server.heads[number], re.MULTILINE)
        return {name.lower(): value for name, value in found}

    def told(self, number: int) -> dict[str, Any]:
        """What a POST says."""
        said: dict[str, Any] = json.loads(self.server.bodies[number])
        return said

    def of(self, request_id: str) -> list[int]:
        """The numbers of the POSTs that speak of a request."""
        return [number for number in range(self.count) if self.told(number)["request_id"] == request_id]

    def hosted_signature_holds(self, number: int, jwks: str) -> bool:
        """Whether a POST is signed as the hosted service signs, by a key of the set, as its sample reads it."""
        headers = self.headers(number)
        lines = [headers[f"x-fal-webhook-{name}"] for name in ("request-id", "user-id", "timestamp")]
        lines.append(hashlib.sha256(self.server.bodies[number]).hexdigest())
        signature = bytes.fromhex(headers["x-fal-webhook-signature"])
        keys = [base64.urlsafe_b64decode(key["x"]) for key in json.loads(jwks)["keys"]]
        return any(_holds(key, "\n".join(lines).encode(), signature) for key in keys)

    def standard_signature_holds(self, number: int, public_key: bytes) -> bool:
        """Whether a POST is signed by a key as Standard Webhooks has it, in its scheme v1a."""
        headers = self.headers(number)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + self.server.bodies[number]
        signatures = [part.partition(",") for part in headers["webhook-signature"].split(" ")]
        return any(
            version == "v1a" and _holds(public_key, signed, base64.b64decode(signature))
            for version, _, signature in signatures
        )


def _holds(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except BadSignatureError:
        return False
    return True
