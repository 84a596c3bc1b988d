"""The engines that tests run against: real servers, shared as far as they can be."""

from __future__ import annotations

import signal
import uuid
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from files import ObjectStore, ObjectStoreSettings
from host.engines import EmbeddedNats, EmbeddedS3
from jobs.broker import BrokerSettings
from tests.brokers import ThreeNats
from tests.deployment import Deployment

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children with them: tests of Ctrl-C
# need it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedS3]:
    """One S3 server for all tests."""
    async with EmbeddedS3(tmp_path_factory.mktemp("s3")) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module")
async def nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    """One NATS server for the tests of a module."""
    async with EmbeddedNats(tmp_path_factory.mktemp("nats")) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", params=["one broker", "three brokers"])
async def brokers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BrokerSettings]:
    """One NATS server, and then three with three copies of everything: a test that asks for it runs on both."""
    folder = tmp_path_factory.mktemp("brokers")
    if request.param == "one broker":
        async with EmbeddedNats(folder) as engine:
            yield BrokerSettings(url=engine.url, name="test")
    else:
        async with ThreeNats(folder) as cluster:
            yield BrokerSettings(url=cluster.url, name="test", replicas=cluster.replicas)


@pytest_asyncio.fixture
async def store(s3: EmbeddedS3) -> AsyncIterator[ObjectStore]:
    """A bucket of the test's own, gone after it: each takes some of the server's volumes, of which there are few."""
    store = ObjectStore(
        ObjectStoreSettings(
            endpoint=s3.endpoint,
            access_key=s3.access_key,
            secret_key=s3.secret_key,
            bucket=f"test-{uuid.uuid4().hex[:12]}",
            secure=False,
        )
    )
    await store.ensure_bucket()
    yield store
    await store.bucket.call(None, partial(store.bucket.client.remove_bucket, store.bucket.name))


@pytest_asyncio.fixture
async def deployment(nats: EmbeddedNats, store: ObjectStore) -> AsyncIterator[Deployment]:
    """A place to run services and workers in, with an endpoint and tenants that no other test knows."""
    async with Deployment(BrokerSettings(url=nats.url, name="test"), store) as running:
        yield running
