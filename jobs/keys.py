"""API keys: kept in a bucket of the broker, known to every service replica within milliseconds.

A key is `id:secret`, as on the hosted service. The bucket holds the SHA-256 of the secret, which is enough for a
secret of 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from cogreel.v1.admin_pb2 import ROLE_CALLER, ApiKey, Limits, Role

from jobs.broker import Broker, Stored
from jobs.bucket import bucket_subject, put_entry, read_entries
from jobs.record_pb2 import StoredApiKey
from jobs.subjects import KEYS, KEYS_BUCKET, LIVE
from jobs.tail import StreamTail

MAX_TENANT_BYTES = 128  # so that its base32 fits a segment of an object key
_FORM = re.compile(r"([0-9a-f]{16}):([A-Za-z0-9_-]{43})")


class KeyFormError(Exception):
    """The text cannot be an API key."""


class KeyRefusedError(Exception):
    """The key is unknown or revoked."""


class KeyNotFoundError(Exception):
    """There is no key with this id."""


def _subject(key_id: str) -> str:
    return bucket_subject(KEYS_BUCKET, key_id)


async def _put(broker: Broker, stored: StoredApiKey) -> None:
    await put_entry(broker, KEYS_BUCKET, stored.key.key_id, stored.SerializeToString())


async def create_key(
    broker: Broker, tenant: str, *, role: Role.ValueType = ROLE_CALLER, limits: Limits | None = None
) -> tuple[ApiKey, str]:
    """Make a key; returns its description and its text, which cannot be read again.

    Raises:
        ValueError: the tenant's name is empty or longer than 128 bytes.
        BrokerUnavailableError: the broker does not answer.
    """
    if not 0 < len(tenant.encode()) <= MAX_TENANT_BYTES:
        raise ValueError(f"a tenant's name takes 1 to {MAX_TENANT_BYTES} bytes of UTF-8")
    secret = secrets.token_urlsafe(32)
    key = ApiKey(key_id=secrets.token_hex(8), tenant=tenant, role=role, limits=limits)
    key.created.FromDatetime(datetime.now(UTC))
    await _put(broker, StoredApiKey(secret_sha256=hashlib.sha256(secret.encode()).digest(), key=key))
    return key, f"{key.key_id}:{secret}"


async def list_keys(broker: Broker) -> list[ApiKey]:
    """All keys, oldest first.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    found = await read_entries(broker, KEYS_BUCKET)
    return sorted((StoredApiKey.FromString(s.data).key for s in found), key=lambda key: key.created.ToNanoseconds())


async def revoke_key(broker: Broker, key_id: str) -> ApiKey:
    """Make a key useless. Revoking twice changes nothing.

    Raises:
        KeyNotFoundError: there is no key with this id.
        BrokerUnavailableError: the broker does not answer.
    """
    found = await broker.last(KEYS, _subject(key_id)) if re.fullmatch(r"[0-9a-f]{16}", key_id) else None
    if found is None:
        raise KeyNotFoundError(f"no key {key_id}")
    stored = StoredApiKey.FromString(found.data)
    if not stored.key.HasField("revoked"):
        stored.key.revoked.FromDatetime(datetime.now(UTC))
        await _put(broker, stored)
    return stored.key


class KeyDirectory:
    """All keys, kept current by a tail on the bucket; an async context manager."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._keys: dict[str, StoredApiKey] = {}
        self._tail = StreamTail(broker, KEYS, f"{LIVE}keys.>", self._apply)

    async def __aenter__(self) -> Self:
        await self._tail.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tail.__aexit__(kind, error, trace)

    @property
    def caught_up(self) -> bool:
        """Whether all keys were known at the last look: otherwise a revoked one may still be taken."""
        return self._tail.caught_up

    def _apply(self, stored: Stored) -> None:
        entry = StoredApiKey.FromString(stored.data)
        self._keys[entry.key.key_id] = entry

    async def authenticate(self, text: str) -> ApiKey:
        """Whose key this is.

        Raises:
            KeyFormError: the text cannot be a key.
            KeyRefusedError: the key is unknown or revoked.
            BrokerUnavailableError: the key is not known here, and the broker cannot be asked.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise KeyFormError("an API key has the form id:secret, with an id of 16 hexadecimal digits")
        key_id, secret = form.groups()
        entry = self._keys.get(key_id)
        if entry is None:  # perhaps made a moment ago
            found = await self._broker.last(KEYS, _subject(key_id))
            entry = StoredApiKey.FromString(found.data) if found is not None else StoredApiKey()
        digest = hashlib.sha256(secret.encode()).digest()
        if not hmac.compare_digest(digest, entry.secret_sha256):
            raise KeyRefusedError("the API key is unknown or revoked")
        if entry.key.HasField("revoked"):
            raise KeyRefusedError("the API key is unknown or revoked")
        return entry.key
