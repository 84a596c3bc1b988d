"""Ending in order: SIGTERM and Ctrl-C cancel what runs, and its context managers clean up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine


def stop_event() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second signal of the kind does nothing more."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


async def until_stopped(main: Coroutine[None, None, None], stopped: asyncio.Event) -> None:
    """Run `main` until it ends or `stopped` is set; then it is cancelled. Raises what it raises."""
    running = asyncio.create_task(main)
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        running.cancel()  # once: what it does then, such as draining, must not be cut short by a second
        await asyncio.wait({running})
    if not running.cancelled():
        running.result()
