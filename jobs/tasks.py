"""Ending background tasks for certain."""

from __future__ import annotations

import asyncio

AGAIN_S = 0.1


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended; raises what it raised, but for its cancellation.

    Once is not enough: `asyncio.wait_for` before Python 3.12, which the NATS client uses, drops a cancellation that
    arrives together with the answer (python/cpython issue 86296).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_S)
    if not task.cancelled():
        task.result()
