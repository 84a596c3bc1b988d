"""What the tests of the queue share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from host.engines import EmbeddedNats
from jobs.broker import Broker, BrokerSettings
from jobs.streams import ensure_streams


@pytest_asyncio.fixture
async def broker(nats: EmbeddedNats) -> AsyncIterator[Broker]:
    """A connection to the module's NATS server, with the streams made."""
    await nats.wait_ready()
    async with Broker(BrokerSettings(url=nats.url, name="test")) as connected:
        await ensure_streams(connected)
        yield connected


@pytest_asyncio.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A NATS server of the test's own, to be stopped or emptied."""
    async with EmbeddedNats(tmp_path) as engine:
        yield engine


@pytest.fixture
def endpoint() -> str:
    """An endpoint that no other test knows."""
    return f"test/{secrets.token_hex(6)}"
