"""The engines that tests run against: real servers, shared as far as they can be."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import hypothesis  # noqa: F401 - else its plugin imports it at the end, where Python 3.11 may fail to parse it
import pytest
import pytest_asyncio

from files import ObjectStore
from host.engines import EmbeddedS3
from tests.brokers import NatsServers, servers_in
from tests.deployment import Deployment, store_in

# Several processes of tests on two cores: threads of torch that wait for each other would spin, and take turns at it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children with them: tests of Ctrl-C
# need it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedS3]:
    """One S3 server for all tests."""
    async with EmbeddedS3(tmp_path_factory.mktemp("s3")) as engine:
        yield engine


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--brokers 3`: what runs on one NATS server runs on a cluster of three instead."""
    parser.addoption("--brokers", choices=["1", "3"], default="1", help="how many NATS servers tests of the queue get")


@pytest.fixture(scope="session", autouse=True)
def own_logs() -> Iterator[None]:
    """Commands that run in this process leave its logging alone: other tests look at what is logged."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("host.cli", "host.command_line", "host.doctor_command"):
            patch.setattr(f"{module}.configure_logs", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def brokers(pytestconfig: pytest.Config) -> Literal[1, 3]:
    """How many NATS servers this run is about."""
    return 3 if pytestconfig.getoption("--brokers") == "3" else 1


@pytest_asyncio.fixture(scope="module")
async def nats(brokers: Literal[1, 3], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServers]:
    """One NATS server, or three, for the tests of a module."""
    async with servers_in(tmp_path_factory.mktemp("nats"), brokers) as servers:
        yield servers


@pytest_asyncio.fixture
async def own_nats(brokers: Literal[1, 3], tmp_path: Path) -> AsyncIterator[NatsServers]:
    """One NATS server, or three, of the test's own, to be stopped or emptied."""
    async with servers_in(tmp_path, brokers) as servers:
        yield servers


@pytest_asyncio.fixture
async def store(s3: EmbeddedS3) -> AsyncIterator[ObjectStore]:
    """A bucket of the test's own, gone after it: each takes some of the server's volumes, of which there are few."""
    async with store_in(s3) as store:
        yield store


@pytest_asyncio.fixture
async def deployment(nats: NatsServers, store: ObjectStore) -> AsyncIterator[Deployment]:
    """A place to run services and workers in, with an endpoint and tenants that no other test knows."""
    async with Deployment(nats.settings(), store) as running:
        yield running
