"""The callers of `examples/` that are not in Python, and one service for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.end_to_end.tree import Tree
from tests.other_languages.programs import PROGRAMS, Program
from tests.other_languages.trust import Trust


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda program: str(program.language))
def program(request: pytest.FixtureRequest) -> Program:
    """Each of the callers."""
    program: Program = request.param
    program.require()
    return program


@pytest_asyncio.fixture(scope="session")
async def tree(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tree]:
    """A service with a simulated device, as `cogreeld up` runs it."""
    async with Tree(tmp_path_factory.mktemp("service"), devices="simulated") as running:
        yield running


@pytest.fixture(scope="session")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """A certificate authority."""
    return Trust(tmp_path_factory.mktemp("trust"))
