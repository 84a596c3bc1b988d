"""The keys that webhooks are signed by: made once, kept in a bucket of the broker, shared by all replicas.

    rotate ──► published, signs_from ahead ──► signs ──► withdrawn, once the next one has signed for a while

Receivers cache the public keys, for up to a day on the hosted service. So a new key is published for a day before it
signs, and an old one stays published for a day after. Both times are the operator's choice, down to nothing for a key
that leaked. The private half never leaves the bucket and the memory of the service.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cogreel.v1.queue_pb2 import WebhookKey as PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.broker import Broker
from jobs.bucket import bucket_subject, replace_entry
from jobs.errors import BrokerUnavailableError
from jobs.publisher import DECIDE_WITHIN_S, LONGEST_PAUSE_S
from jobs.record_pb2 import StoredWebhookKey, WebhookKeyring
from jobs.subjects import WEBHOOK_KEYS, WEBHOOK_KEYS_BUCKET

RECEIVERS_CACHE = timedelta(hours=24)
"""For how long receivers of the hosted service may cache its keys."""
LONGEST_OVERLAP = timedelta(days=365)
KNOWN_FOR_S = 5.0

_ENTRY = "keyring"


@dataclass(frozen=True, slots=True)
class WebhookKey:
    """One key. `public` is what everybody may see, `private` the private half, 32 bytes."""

    public: PublicKey
    private: bytes = field(repr=False)

    def signs(self, now: datetime) -> bool:
        """Whether webhooks are signed by it."""
        return self.public.signs_from.ToDatetime(UTC) <= now and self.valid(now)

    def valid(self, now: datetime) -> bool:
        """Whether it is published: a webhook may be signed by it, now or soon."""
        return not self.public.HasField("withdrawn_time") or self.public.withdrawn_time.ToDatetime(UTC) > now


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys, in the order in which they were made."""

    keys: tuple[WebhookKey, ...]

    def published(self, now: datetime) -> list[WebhookKey]:
        """The keys that receivers are told of, newest first."""
        return [key for key in reversed(self.keys) if key.valid(now)]

    def signing(self, now: datetime) -> list[WebhookKey]:
        """The key to sign by, and after it the older ones that receivers may still rely on."""
        return [key for key in reversed(self.keys) if key.signs(now)]


async def ensure_keyring(broker: Broker) -> None:
    """Make the first key, unless there is one. Replicas that start together end with the same.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    if (await _read(broker))[0] == 0:
        first = WebhookKeyring(keys=[_new_key(signs_from=datetime.now(UTC))])
        await replace_entry(broker, WEBHOOK_KEYS_BUCKET, _ENTRY, first.SerializeToString(), expected_seq=0)


async def read_keyring(broker: Broker) -> Keyring:
    """All keys, as the leader has them.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    _, stored = await _read(broker)
    return Keyring(tuple(WebhookKey(entry.key, entry.private_key) for entry in stored.keys))


async def rotate_webhook_keys(
    broker: Broker, *, sign_after: timedelta = RECEIVERS_CACHE, keep: timedelta = RECEIVERS_CACHE
) -> Keyring:
    """Make a new key, which signs after a time; the others are withdrawn when it has signed for the time `keep`.

    Keys that have been withdrawn are dropped for good. Returns what there is now.

    Raises:
        ValueError: a time is negative or above 365 days.
        BrokerUnavailableError: the broker does not answer.
    """
    for overlap in (sign_after, keep):
        if not timedelta() <= overlap <= LONGEST_OVERLAP:
            raise ValueError(f"the times of a rotation must be from 0 s to {LONGEST_OVERLAP.days} days")
    deadline = asyncio.get_running_loop().time() + DECIDE_WITHIN_S
    while asyncio.get_running_loop().time() < deadline:
        seq, stored = await _read(broker)
        now = datetime.now(UTC)
        following = _rotated(stored, signs_from=now + sign_after, withdrawn=now + sign_after + keep, now=now)
        content = following.SerializeToString()
        if await replace_entry(broker, WEBHOOK_KEYS_BUCKET, _ENTRY, content, expected_seq=seq):
            return await read_keyring(broker)
        await asyncio.sleep(LONGEST_PAUSE_S)
    raise BrokerUnavailableError("the webhook keys could not be changed in time")


def _rotated(stored: WebhookKeyring, *, signs_from: datetime, withdrawn: datetime, now: datetime) -> WebhookKeyring:
    following = WebhookKeyring()
    for entry in stored.keys:
        ends = entry.key.withdrawn_time
        if not entry.key.HasField("withdrawn_time") or ends.ToDatetime(UTC) > withdrawn:
            ends.FromDatetime(withdrawn)
        if ends.ToDatetime(UTC) > now:
            following.keys.append(entry)
    following.keys.append(_new_key(signs_from=signs_from))
    return following


def _new_key(*, signs_from: datetime) -> StoredWebhookKey:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    stored = StoredWebhookKey(private_key=private.private_bytes_raw(), key=PublicKey(public_key=public))
    stored.key.key_id = public[:8].hex()
    stored.key.signs_from.FromDatetime(signs_from)
    stored.created.FromDatetime(datetime.now(UTC))
    return stored


async def _read(broker: Broker) -> tuple[int, WebhookKeyring]:
    found = await broker.last(WEBHOOK_KEYS, bucket_subject(WEBHOOK_KEYS_BUCKET, _ENTRY))
    return (0, WebhookKeyring()) if found is None else (found.seq, WebhookKeyring.FromString(found.data))


class WebhookKeys:
    """The keys as one replica knows them: asked for anew when what it knows is older than 5 s."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: Keyring | None = None
        self._known_at = 0.0

    async def current(self) -> Keyring:
        """All keys.

        Raises:
            BrokerUnavailableError: the broker does not answer.
        """
        if self._known is None or time.monotonic() - self._known_at > KNOWN_FOR_S:
            asked_at = time.monotonic()
            self._known, self._known_at = await read_keyring(self._broker), asked_at
        return self._known
