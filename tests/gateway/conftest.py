"""Gateways before a real service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from host.engines import EmbeddedS3
from tests.brokers import NatsServers
from tests.deployment import Deployment, store_in
from tests.gateway.door import Door, door_of


@pytest_asyncio.fixture
async def door(deployment: Deployment) -> AsyncIterator[Door]:
    """Someone with a key before a gateway, with no worker yet."""
    async with door_of(deployment) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def shared_door(nats: NatsServers, s3: EmbeddedS3) -> AsyncIterator[Door]:
    """The same for all tests of a module, with every kind of endpoint: for those that look at answers alone."""
    async with store_in(s3) as store, Deployment(nats.settings(), store) as deployment:
        deployment.serve_files()
        async with door_of(deployment) as running:
            yield running
