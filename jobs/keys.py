"""API keys: kept in a bucket of the broker, known to every service replica within milliseconds.

A key is `id:secret`, as on the hosted service. The bucket holds the SHA-256 of the secret, which is enough for a
secret of 256 random bits. A key works until the moment `revoked`, which may lie ahead: a rotated key's does.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from cogreel.v1.admin_pb2 import ROLE_CALLER, ApiKey, Limits, Role

from jobs.broker import Broker, Stored
from jobs.bucket import bucket_subject, replace_entry
from jobs.errors import BrokerUnavailableError
from jobs.publisher import DECIDE_WITHIN_S, LONGEST_PAUSE_S
from jobs.record_pb2 import StoredApiKey
from jobs.subjects import KEYS, KEYS_BUCKET, LIVE
from jobs.tail import StreamTail

MAX_TENANT_BYTES = 128  # so that its base32 fits a segment of an object key
LONGEST_GRACE = timedelta(days=365)
_FORM = re.compile(r"([0-9a-f]{16}):([A-Za-z0-9_-]{43})")


class KeyFormError(Exception):
    """The text cannot be an API key."""


class KeyRefusedError(Exception):
    """The key is unknown or revoked."""


class KeyNotFoundError(Exception):
    """There is no key with this id."""


class KeyRevokedError(Exception):
    """The key has stopped working, so that it cannot be rotated."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new key with its text, which cannot be read again, and the old one with the moment at which it stops."""

    key: ApiKey
    text: str
    old: ApiKey


def role_name(role: Role.ValueType) -> str:
    """What people call a role: caller or admin; the number of one that only a newer program knows."""
    return Role.Name(role or ROLE_CALLER).removeprefix("ROLE_").lower() if role in Role.values() else str(role)


def works(key: ApiKey) -> bool:
    """Whether a key is not revoked, or not yet."""
    return not key.HasField("revoked") or key.revoked.ToNanoseconds() > time.time_ns()


def _subject(key_id: str) -> str:
    return bucket_subject(KEYS_BUCKET, key_id)


async def _put(broker: Broker, stored: StoredApiKey, *, expected_seq: int) -> bool:
    """Store a key, if its last version is still the one at `expected_seq` (0: there is none); False if it is not."""
    content = stored.SerializeToString()
    return await replace_entry(broker, KEYS_BUCKET, stored.key.key_id, content, expected_seq=expected_seq)


async def _find(broker: Broker, key_id: str) -> Stored:
    found = await broker.last(KEYS, _subject(key_id)) if re.fullmatch(r"[0-9a-f]{16}", key_id) else None
    if found is None:
        raise KeyNotFoundError(f"no key {key_id}")
    return found


async def _change(broker: Broker, key_id: str, change: Callable[[ApiKey], None]) -> ApiKey:
    """Change a key as it is now, also where somebody else changes it at this moment."""
    deadline = asyncio.get_running_loop().time() + DECIDE_WITHIN_S
    while asyncio.get_running_loop().time() < deadline:
        found = await _find(broker, key_id)
        stored = StoredApiKey.FromString(found.data)
        change(stored.key)
        if stored == StoredApiKey.FromString(found.data) or await _put(broker, stored, expected_seq=found.seq):
            return stored.key
        await asyncio.sleep(LONGEST_PAUSE_S)
    raise BrokerUnavailableError(f"key {key_id} could not be changed in time")


def _stop(key: ApiKey, at: datetime) -> None:
    """Let a key stop at a moment, or earlier, where that was decided before."""
    if not key.HasField("revoked") or key.revoked.ToDatetime(UTC) > at:
        key.revoked.FromDatetime(at)


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
    stored = StoredApiKey(secret_sha256=hashlib.sha256(secret.encode()).digest(), key=key)
    if not await _put(broker, stored, expected_seq=0):
        raise BrokerUnavailableError("the key could not be stored at this moment")
    return key, f"{key.key_id}:{secret}"


async def list_keys(broker: Broker) -> list[ApiKey]:
    """All keys, oldest first.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    last = await broker.last(KEYS, _subject("*"))
    if last is None:
        return []
    found = await broker.read(KEYS, 1, _subject("*"), anchor=last.seq)
    # One that is changed while this reads comes twice; its last version counts.
    keys = {key.key_id: key for key in (StoredApiKey.FromString(stored.data).key for stored in found)}
    return sorted(keys.values(), key=lambda key: key.created.ToNanoseconds())


async def revoke_key(broker: Broker, key_id: str) -> ApiKey:
    """Make a key useless now, also one that had a grace time. Revoking twice changes nothing.

    Raises:
        KeyNotFoundError: there is no key with this id.
        BrokerUnavailableError: the broker does not answer.
    """
    now = datetime.now(UTC)
    return await _change(broker, key_id, lambda key: _stop(key, now))


async def rotate_key(broker: Broker, key_id: str, *, grace: timedelta = timedelta()) -> Rotated:
    """Make a key with the tenant, role and limits of another, which stops after `grace`, or earlier if it was to.

    The new one is made first: whatever fails, its owner has a key that works.

    Raises:
        KeyNotFoundError: there is no key with this id.
        KeyRevokedError: it does not work any more.
        ValueError: the grace time is negative or above 365 days.
        BrokerUnavailableError: the broker does not answer.
    """
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise ValueError(f"the grace time must be from 0 s to {LONGEST_GRACE.days} days")
    old = StoredApiKey.FromString((await _find(broker, key_id)).data).key
    if not works(old):
        raise KeyRevokedError(f"key {key_id} was revoked at {old.revoked.ToJsonString()}")
    limits = old.limits if old.HasField("limits") else None
    key, text = await create_key(broker, old.tenant, role=old.role, limits=limits)
    stops = datetime.now(UTC) + grace
    return Rotated(key, text, await _change(broker, key_id, lambda found: _stop(found, stops)))


class KeyDirectory:
    """All keys, kept current by a tail on the bucket; an async context manager."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._keys: dict[str, StoredApiKey] = {}
        self._by_tenant: defaultdict[str, set[str]] = defaultdict(set)
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

    @property
    def ended(self) -> bool:
        """Whether changes are followed no more: this process must start again."""
        return self._tail.ended

    def _apply(self, stored: Stored) -> None:
        entry = StoredApiKey.FromString(stored.data)
        self._keys[entry.key.key_id] = entry
        self._by_tenant[entry.key.tenant].add(entry.key.key_id)

    def tenant_limits(self, tenant: str) -> Limits:
        """What bounds a tenant: of each limit the strictest among those of its keys that work. No I/O."""
        strictest: dict[str, int] = {}
        for key_id in self._by_tenant.get(tenant, ()):
            key = self._keys[key_id].key
            if works(key):
                for limit, value in key.limits.ListFields():
                    strictest[limit.name] = min(value, strictest.get(limit.name, value))
        return Limits(**strictest)

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
        if not works(entry.key):
            raise KeyRefusedError("the API key is unknown or revoked")
        return entry.key
