"""What the tests of the doctor share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from host.engines import EmbeddedNats


@pytest_asyncio.fixture
async def one_nats(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """One NATS server of the test's own, to be misused."""
    async with EmbeddedNats(tmp_path) as engine:
        yield engine
