"""Waiting for other processes."""

import asyncio
from collections.abc import Callable

import psutil

_POLL_S = 0.02


def is_running(pid: int) -> bool:
    """Whether the process runs: a zombie that nobody has waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return when the condition holds; fail the test if it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (other processes set no event of ours)
            await asyncio.sleep(_POLL_S)


async def until_gone(*pids: int) -> None:
    """Return when none of the processes runs."""
    await until(lambda: not any(map(is_running, pids)))
