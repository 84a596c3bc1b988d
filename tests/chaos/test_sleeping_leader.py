"""A broker that slept while another one was elected to lead: what it says when it wakes must not be believed."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest_asyncio
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL

from jobs import states
from jobs.broker import Broker, BrokerSettings
from jobs.errors import BrokerUnavailableError
from jobs.publisher import Applied, confirmed_state, key_of, publish_transition
from jobs.record_pb2 import Record
from tests.brokers import NAMES, ThreeNats


@dataclass(frozen=True)
class Sleep:
    """While it leads and sleeps: a connection to it, one to the others, and its process."""

    sleeper: Broker
    others: Broker
    process: psutil.Process


@pytest_asyncio.fixture
async def asleep(tmp_path: Path) -> AsyncIterator[Sleep]:
    """Three brokers of which the leader sleeps, and another one has been elected."""
    async with ThreeNats(tmp_path) as cluster:
        leader = await cluster.leader()
        urls = cluster.url.split(",")
        own = urls.pop(NAMES.index(leader))
        process = next(
            child for child in psutil.Process().children() if str(tmp_path / f"{leader}.conf") in child.cmdline()
        )
        async with _connected(own) as sleeper, _connected(",".join(urls)) as others:
            process.suspend()
            try:
                yield Sleep(sleeper, others, process)
            finally:
                process.resume()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Broker]:
    async with Broker(BrokerSettings(url=url, replicas=3)) as broker:
        yield broker


async def test_a_request_made_while_the_leader_slept_is_found_through_it(asleep: Sleep) -> None:
    record = states.queued(
        Record(
            tenant=f"t{secrets.token_hex(4)}",
            request_id=str(uuid.uuid4()),
            endpoint="e",
            priority=PRIORITY_NORMAL,
            max_attempts=3,
        ),
        now=datetime.now(UTC),
    )
    assert isinstance(await publish_transition(asleep.others, record, expected_seq=0), Applied)

    async def ask() -> tuple[int, Record] | None:
        while True:
            try:
                return await confirmed_state(asleep.sleeper, key_of(record))
            except BrokerUnavailableError:  # it noticed by itself that it leads no longer
                continue

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)  # the question waits in the sleeper's socket, and is the first thing it reads
    asleep.process.resume()
    found = await asking
    assert found is not None
    assert found[1] == record
