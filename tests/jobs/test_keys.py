"""API keys: made and revoked anywhere, known everywhere at once, their secrets nowhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import pytest_asyncio
from cogreel.v1.admin_pb2 import ROLE_ADMIN, ROLE_CALLER, Limits

from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError
from jobs.keys import (
    KeyDirectory,
    KeyFormError,
    KeyNotFoundError,
    KeyRefusedError,
    KeyRevokedError,
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from jobs.streams import stream_state
from jobs.subjects import KEYS
from tests.brokers import NatsServers
from tests.jobs.link import Link
from tests.waiting import seen


@pytest_asyncio.fixture
async def directory(broker: Broker) -> AsyncIterator[KeyDirectory]:
    async with KeyDirectory(broker) as running:
        yield running


async def refused(directory: KeyDirectory, text: str) -> bool:
    try:
        await directory.authenticate(text)
    except KeyRefusedError:
        return True
    return False


async def test_a_new_key_is_known_to_a_running_directory_at_once(broker: Broker, directory: KeyDirectory) -> None:
    key, text = await create_key(broker, "tenant a", role=ROLE_ADMIN, limits=Limits(running=3))
    found = await directory.authenticate(text)
    assert found == key
    assert (found.tenant, found.role, found.limits.running) == ("tenant a", ROLE_ADMIN, 3)
    assert text.startswith(f"{key.key_id}:")
    age_s = (datetime.now(UTC) - key.created.ToDatetime(UTC)).total_seconds()
    assert 0 <= age_s < 60


async def test_a_directory_knows_the_keys_that_were_made_before_it(broker: Broker) -> None:
    made = [await create_key(broker, f"tenant {number}") for number in range(5)]
    async with KeyDirectory(broker) as directory:
        for number, (_, text) in enumerate(made):
            found = await directory.authenticate(text)
            assert (found.tenant, found.role) == (f"tenant {number}", ROLE_CALLER)


async def test_a_revoked_key_is_refused_by_a_running_directory_at_once(broker: Broker, directory: KeyDirectory) -> None:
    _, kept = await create_key(broker, "tenant a")
    made = [await create_key(broker, "tenant a") for _ in range(10)]
    async with asyncio.timeout(5):  # at one comparison with the stream a second, ten would take 10 s
        for key, text in made:
            await directory.authenticate(text)
            assert (await revoke_key(broker, key.key_id)).HasField("revoked")
            await seen(partial(refused, directory, text), bool)
    await directory.authenticate(kept)
    async with KeyDirectory(broker) as later:
        assert await refused(later, made[0][1])


async def test_revoking_twice_keeps_the_first_moment(broker: Broker) -> None:
    key, _ = await create_key(broker, "tenant a")
    first = await revoke_key(broker, key.key_id)
    assert await revoke_key(broker, key.key_id) == first


@pytest.mark.parametrize("key_id", ["0" * 16, "", "*", ">", "a.b", "0" * 15])
async def test_a_key_that_does_not_exist_cannot_be_revoked(broker: Broker, key_id: str) -> None:
    await create_key(broker, "tenant a")
    with pytest.raises(KeyNotFoundError):
        await revoke_key(broker, key_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "secret",
        "0123456789abcdef",
        "0123456789abcdef:",
        "0123456789abcdef:short",
        "0123456789ABCDEF:" + "a" * 43,
        "0123456789abcde:" + "a" * 43,
        "0123456789abcdef:" + "a" * 44,
        "0123456789abcdef:" + "ä" * 43,
        "0123456789abcdef:" + "a" * 43 + "\n",
        "*:" + "a" * 43,
    ],
)
async def test_text_that_cannot_be_a_key_is_told_apart_from_a_wrong_one(directory: KeyDirectory, text: str) -> None:
    with pytest.raises(KeyFormError):
        await directory.authenticate(text)


async def test_an_unknown_key_and_a_wrong_secret_are_refused_in_the_same_words(
    broker: Broker, directory: KeyDirectory
) -> None:
    key, text = await create_key(broker, "tenant a")
    _, other = await create_key(broker, "tenant a")
    wrong = f"{key.key_id}:{other.partition(':')[2]}"
    unknown = f"{'0' * 16}:{text.partition(':')[2]}"
    words = set()
    for attempt in (wrong, unknown):
        with pytest.raises(KeyRefusedError) as refusal:
            await directory.authenticate(attempt)
        words.add(str(refusal.value))
    assert len(words) == 1
    await directory.authenticate(text)


async def test_known_keys_work_while_the_broker_is_away(broker: Broker, nats: NatsServers) -> None:
    _, known = await create_key(broker, "tenant a")
    link = Link(nats.settings())
    async with link.open(), Broker(link.settings) as behind_link, KeyDirectory(behind_link) as directory:
        link.cut()
        _, made_meanwhile = await create_key(broker, "tenant a")
        assert (await directory.authenticate(known)).tenant == "tenant a"
        with pytest.raises(BrokerUnavailableError):  # which is not a refusal: it may be a good key
            await directory.authenticate(made_meanwhile)
        link.mend()


async def test_a_rotated_key_and_its_successor_both_work_during_the_grace_time(
    broker: Broker, directory: KeyDirectory
) -> None:
    key, text = await create_key(broker, "tenant a", role=ROLE_ADMIN, limits=Limits(queued=5))
    rotated = await rotate_key(broker, key.key_id, grace=timedelta(minutes=1))
    assert (rotated.key.tenant, rotated.key.role, rotated.key.limits) == ("tenant a", ROLE_ADMIN, Limits(queued=5))
    assert rotated.key.key_id != key.key_id
    left = rotated.old.revoked.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(seconds=30) < left <= timedelta(minutes=1)
    async with KeyDirectory(broker) as later:
        for known_to in (directory, later):
            assert (await known_to.authenticate(rotated.text)).key_id == rotated.key.key_id
            assert not await refused(known_to, text)


async def test_the_grace_time_ends_also_while_the_broker_is_away(broker: Broker, nats: NatsServers) -> None:
    key, text = await create_key(broker, "tenant a")
    rotated = await rotate_key(broker, key.key_id, grace=timedelta(seconds=3))
    link = Link(nats.settings())
    async with link.open(), Broker(link.settings) as behind_link, KeyDirectory(behind_link) as directory:
        link.cut()
        assert (await directory.authenticate(text)).key_id == key.key_id
        await seen(partial(refused, directory, text), bool, within_s=5)
        assert datetime.now(UTC) >= rotated.old.revoked.ToDatetime(UTC)
        assert not await refused(directory, rotated.text)
        link.mend()


async def test_without_a_grace_time_a_rotated_key_stops_at_once(broker: Broker) -> None:
    key, text = await create_key(broker, "tenant a")
    await rotate_key(broker, key.key_id)
    async with KeyDirectory(broker) as directory:
        assert await refused(directory, text)


async def test_no_later_decision_prolongs_a_key(broker: Broker) -> None:
    key, _ = await create_key(broker, "tenant a")
    soon = await rotate_key(broker, key.key_id, grace=timedelta(minutes=1))
    later = await rotate_key(broker, key.key_id, grace=timedelta(days=1))
    assert later.old == soon.old
    revoked = await revoke_key(broker, key.key_id)
    assert revoked.revoked.ToDatetime(UTC) <= datetime.now(UTC)
    with pytest.raises(KeyRevokedError):
        await rotate_key(broker, key.key_id, grace=timedelta(days=1))
    [listed] = [found for found in await list_keys(broker) if found.key_id == key.key_id]
    assert listed == revoked


async def test_the_earliest_of_many_decisions_at_once_holds(broker: Broker) -> None:
    key, _ = await create_key(broker, "tenant a")
    await asyncio.gather(
        *(rotate_key(broker, key.key_id, grace=timedelta(hours=hours)) for hours in (3, 1, 2)),
        revoke_key(broker, key.key_id),
        return_exceptions=True,
    )
    [listed] = [found for found in await list_keys(broker) if found.key_id == key.key_id]
    assert listed.revoked.ToDatetime(UTC) <= datetime.now(UTC)


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=366)])
async def test_a_grace_time_is_neither_negative_nor_endless(broker: Broker, grace: timedelta) -> None:
    key, _ = await create_key(broker, "tenant a")
    with pytest.raises(ValueError, match="0 s to 365 days"):
        await rotate_key(broker, key.key_id, grace=grace)


async def test_of_each_limit_the_strictest_of_a_tenants_working_keys_counts(broker: Broker) -> None:
    tenant = f"tenant {secrets.token_hex(4)}"
    await create_key(broker, tenant)
    await create_key(broker, tenant, limits=Limits(running=2, queued=10, stored_bytes=10**12))
    strict, _ = await create_key(broker, tenant, limits=Limits(running=1, requests_per_minute=6))
    await create_key(broker, "another tenant", limits=Limits(queued=1))

    async with KeyDirectory(broker) as directory:

        async def limits() -> Limits:
            return directory.tenant_limits(tenant)

        both = Limits(running=1, queued=10, requests_per_minute=6, stored_bytes=10**12)
        assert directory.tenant_limits(tenant) == both
        assert directory.tenant_limits("nobody") == Limits()
        await rotate_key(broker, strict.key_id, grace=timedelta(minutes=1))
        assert directory.tenant_limits(tenant) == both
        for key in await list_keys(broker):
            if key.tenant == tenant and key.limits.running == 1:
                await revoke_key(broker, key.key_id)
        await seen(limits, lambda found: found == Limits(running=2, queued=10, stored_bytes=10**12), within_s=5)


async def test_the_secret_is_stored_nowhere(broker: Broker) -> None:
    _, text = await create_key(broker, "tenant a")
    secret = text.partition(":")[2]
    last_seq, _, _ = await stream_state(broker, KEYS)
    stored = await broker.read(KEYS, 1, ">", anchor=last_seq)
    raw = b"".join(found.subject.encode() + found.data for found in stored)
    assert hashlib.sha256(secret.encode()).digest() in raw
    assert secret.encode() not in raw
    assert base64.urlsafe_b64decode(secret + "=") not in raw
    assert secret not in str(await list_keys(broker))


@pytest.mark.parametrize("tenant", ["", "ü" * 65])
async def test_a_tenants_name_is_neither_empty_nor_too_long(broker: Broker, tenant: str) -> None:
    with pytest.raises(ValueError, match="1 to 128 bytes"):
        await create_key(broker, tenant)


async def test_keys_are_listed_oldest_first_and_once(broker: Broker) -> None:
    before = [key.key_id for key in await list_keys(broker)]
    first, _ = await create_key(broker, "tenant a")
    second, _ = await create_key(broker, "tenant b")
    await revoke_key(broker, first.key_id)
    listed = await list_keys(broker)
    assert [key.key_id for key in listed] == [*before, first.key_id, second.key_id]
    assert listed[-2].HasField("revoked")
    assert not listed[-1].HasField("revoked")
