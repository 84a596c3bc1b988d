"""What the tests of webhooks share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.deployment import Deployment
from tests.service.webhook_calls import call_loopback
from tests.webhook_receiver import Receiver


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who wants to be told."""
    async with Receiver() as running:
        yield running


@pytest_asyncio.fixture
async def deployed(deployment: Deployment) -> Deployment:
    """A place for services that may call receivers on loopback, and that try again at once."""
    call_loopback(deployment)
    return deployment
