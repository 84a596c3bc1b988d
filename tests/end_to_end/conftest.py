"""`cogreeld up` as users run it: a process tree of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.end_to_end.collector import Collector
from tests.end_to_end.tree import Tree


@pytest_asyncio.fixture
async def tree(tmp_path: Path) -> AsyncIterator[Tree]:
    """A tree with one simulated device."""
    async with Tree(tmp_path, devices="simulated") as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def collector() -> AsyncIterator[Collector]:
    """Where the watched tree sends its traces."""
    async with Collector() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def watched_tree(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> AsyncIterator[Tree]:
    """One tree, for several tests, that serves metrics and sends traces."""
    environment = {
        "COGREEL_METRICS_LISTEN": "127.0.0.1:0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    async with Tree(tmp_path_factory.mktemp("watched"), devices="simulated", environment=environment) as running:
        yield running
