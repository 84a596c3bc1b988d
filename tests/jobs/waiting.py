"""Waiting for what another process or task brings about."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from host.engines import EmbeddedNats

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


async def kill(nats: EmbeddedNats) -> None:
    """Kill the server; its keeper starts it again."""
    pid = nats.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: nats.pid != pid)


async def kill_and_await_restart(nats: EmbeddedNats) -> None:
    """Kill the server, and wait until it answers again."""
    await kill(nats)
    await until(lambda: nats.pid is not None)
    await nats.wait_ready()
