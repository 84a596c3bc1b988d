"""A gateway for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.deployment import Deployment
from tests.gateway.door import Door, door_of


@pytest_asyncio.fixture
async def door(deployment: Deployment) -> AsyncIterator[Door]:
    """Someone with a key before a gateway, with no worker yet."""
    async with door_of(deployment) as running:
        yield running
