"""`cogreeld up` as users run it: a process tree of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.end_to_end.tree import Tree


@pytest_asyncio.fixture
async def tree(tmp_path: Path) -> AsyncIterator[Tree]:
    """A tree with one simulated device."""
    async with Tree(tmp_path, devices="simulated") as running:
        yield running
