"""The headers by which receivers tell a webhook of ours from anybody's: those of the hosted service, and those of
Standard Webhooks beside them.

Hosted: Ed25519 over request id, user id, timestamp and the SHA-256 of the body, a line each; receivers find the keys in
the JWKS. Standard Webhooks (standardwebhooks.com, its scheme `v1a`): Ed25519 over `<id>.<timestamp>.<body>`; receivers
are configured with a public key, so while keys change hands the old one signs as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.webhook_keys import WebhookKey

Headers = tuple[tuple[str, str], ...]

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def signed_headers(
    keys: Sequence[WebhookKey], body: bytes, *, request_id: str, tenant: str, delivery_id: str, timestamp: int
) -> Headers:
    """The headers of one try, at `timestamp` in seconds since 1970.

    `keys` are those to sign by, the one that counts first: the hosted form has room for one signature.
    """
    user_id = quote(tenant, safe=_PRINTABLE)  # names may hold what no header, and no line, may
    hosted = "\n".join([request_id, user_id, str(timestamp), hashlib.sha256(body).hexdigest()]).encode()
    standard = f"{delivery_id}.{timestamp}.".encode() + body
    signers = [Ed25519PrivateKey.from_private_bytes(key.private) for key in keys]
    return (
        ("X-Fal-Webhook-Request-Id", request_id),
        ("X-Fal-Webhook-User-Id", user_id),
        ("X-Fal-Webhook-Timestamp", str(timestamp)),
        ("X-Fal-Webhook-Signature", signers[0].sign(hosted).hex()),
        ("webhook-id", delivery_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(f"v1a,{_base64(signer.sign(standard))}" for signer in signers)),
    )


def jwks(keys: Sequence[WebhookKey]) -> str:
    """The public halves as a JSON Web Key Set (RFC 7517, RFC 8037).

    `x` is padded, which the RFCs leave out: the hosted service's sample receiver in Python reads no other, and lenient
    readers take both.
    """
    shown = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": base64.urlsafe_b64encode(key.public.public_key).decode(),
            "kid": key.public.key_id,
            "use": "sig",
            "alg": "EdDSA",
        }
        for key in keys
    ]
    return json.dumps({"keys": shown})


def _base64(signature: bytes) -> str:
    return base64.b64encode(signature).decode()
