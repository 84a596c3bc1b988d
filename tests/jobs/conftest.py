"""What the tests of the queue share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from jobs.broker import Broker
from jobs.streams import ensure_streams
from tests.brokers import NatsServers


@pytest_asyncio.fixture
async def broker(nats: NatsServers) -> AsyncIterator[Broker]:
    """A connection to the module's NATS servers, with the streams made."""
    await nats.wait_ready()
    async with Broker(nats.settings()) as connected:
        await ensure_streams(connected)
        yield connected


@pytest.fixture
def endpoint() -> str:
    """An endpoint that no other test knows."""
    return f"test/{secrets.token_hex(6)}"
