"""One installation for all published clients, with a gateway over HTTPS: Python's client speaks nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.end_to_end.tree import Tree


@pytest_asyncio.fixture(scope="session")
async def tree(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tree]:
    """`cogreeld up --https` with a simulated device."""
    folder = tmp_path_factory.mktemp("published")
    async with Tree(folder, devices="simulated", arguments=("--https",)) as running:
        yield running
