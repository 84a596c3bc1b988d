"""Waiting for what another process or task brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")
_POLL_S = 0.01


async def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Return once the condition holds; fail the test if it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what others do sets no event of ours
            await asyncio.sleep(_POLL_S)


async def seen(look: Callable[[], Awaitable[_T]], accept: Callable[[_T], bool], *, within_s: float = 20.0) -> _T:
    """Look again and again until what is seen is acceptable."""
    async with asyncio.timeout(within_s):
        while not accept(found := await look()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(_POLL_S)
    return found
