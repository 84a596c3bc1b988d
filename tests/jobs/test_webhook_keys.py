"""The keys that webhooks are signed by: made once, published before they sign, withdrawn after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.broker import Broker
from jobs.streams import ensure_streams
from jobs.subjects import WEBHOOK_KEYS
from jobs.webhook_keys import Keyring, ensure_keyring, read_keyring, rotate_webhook_keys
from tests.brokers import NatsServers

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


@pytest_asyncio.fixture
async def alone(own_nats: NatsServers) -> AsyncIterator[Broker]:
    """A broker without keys."""
    await own_nats.wait_ready()
    async with Broker(own_nats.settings()) as connected:
        await ensure_streams(connected)
        yield connected


def ids(ring: Keyring, *, signing_at: datetime | None = None, published_at: datetime | None = None) -> list[str]:
    keys = ring.signing(signing_at) if signing_at is not None else ring.published(published_at or datetime.now(UTC))
    return [key.public.key_id for key in keys]


async def test_replicas_that_start_together_make_one_key(alone: Broker) -> None:
    await asyncio.gather(*(ensure_keyring(alone) for _ in range(10)))
    await ensure_keyring(alone)
    [key] = (await read_keyring(alone)).keys
    assert Ed25519PrivateKey.from_private_bytes(key.private).public_key().public_bytes_raw() == key.public.public_key
    assert key.signs(datetime.now(UTC))


async def test_a_new_key_is_published_before_it_signs_and_an_old_one_after(alone: Broker) -> None:
    await ensure_keyring(alone)
    [old] = ids(await read_keyring(alone))
    ring = await rotate_webhook_keys(alone, sign_after=DAY, keep=HOUR)
    new = ids(ring)[0]
    now = datetime.now(UTC)
    assert ids(ring, published_at=now) == [new, old]
    assert ids(ring, signing_at=now) == [old]
    assert ids(ring, signing_at=now + DAY + HOUR / 2) == [new, old]
    assert ids(ring, published_at=now + DAY + 2 * HOUR) == ids(ring, signing_at=now + DAY + 2 * HOUR) == [new]


async def test_withdrawing_at_once_leaves_nothing_of_the_old_keys(alone: Broker) -> None:
    await ensure_keyring(alone)
    await rotate_webhook_keys(alone, sign_after=DAY)
    old = await read_keyring(alone)
    ring = await rotate_webhook_keys(alone, sign_after=timedelta(), keep=timedelta())
    assert len(ring.keys) == 1
    assert not set(ids(ring)) & set(ids(old))
    stored = await alone.last(WEBHOOK_KEYS, ">")
    assert stored is not None
    assert not any(key.private in stored.data for key in old.keys)


async def test_rotations_at_the_same_time_all_count(alone: Broker) -> None:
    await ensure_keyring(alone)
    await asyncio.gather(*(rotate_webhook_keys(alone, sign_after=DAY) for _ in range(5)))
    assert len(set(ids(await read_keyring(alone)))) == 6


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=366)])
async def test_times_out_of_range_are_refused(alone: Broker, overlap: timedelta) -> None:
    with pytest.raises(ValueError, match="from 0 s to 365 days"):
        await rotate_webhook_keys(alone, keep=overlap)


async def test_private_halves_are_neither_copied_nor_shown(alone: Broker) -> None:
    info = await alone.api(f"STREAM.INFO.{WEBHOOK_KEYS}", {})
    assert isinstance(info["config"], dict)
    assert "republish" not in info["config"]
    await ensure_keyring(alone)
    [key] = (await read_keyring(alone)).keys
    assert str(key.private) not in repr(await read_keyring(alone))
