"""A connection to NATS that does not come about leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError
from tests.brokers import NatsServers
from tests.waiting import until


class NeverChecked(Broker):
    """Gets as far as a connection, and no further."""

    async def check_subscriptions(self) -> None:
        await asyncio.Event().wait()


async def test_a_connection_that_takes_too_long_is_closed(nats: NatsServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.broker.CONNECT_WITHIN_S", 1.0)
    broker = NeverChecked(nats.settings())
    with pytest.raises(BrokerUnavailableError, match="cannot connect to NATS within 1 s"):
        async with broker:
            pass
    assert broker.nc.is_closed


async def test_a_connection_that_is_no_longer_wanted_is_closed(nats: NatsServers) -> None:
    broker = NeverChecked(nats.settings())
    entering = asyncio.create_task(broker.__aenter__())
    await until(lambda: broker.connected)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert broker.nc.is_closed
