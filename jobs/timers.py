"""Things that fall due for requests, at a time of the clock: a heap, and one task that acts when the time has come.

Every service replica keeps its own timers over its projection. Acting twice must be harmless: each act asks the leader
first and is decided by compare-and-set, so replicas need not agree on who does it.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import structlog

from jobs.errors import BrokerUnavailableError
from jobs.subjects import RequestKey
from jobs.tasks import end_task

RETRY_S = 1.0
RETRY_AFTER_FAULT_S = 60.0

_log = structlog.get_logger(__name__)

Act = Callable[[RequestKey], Awaitable[float | None]]
"""Does what is due for a request; returns when to look again (seconds since 1970), or None."""


class Timers:
    """Times at which `act` is called for requests, as an async context manager that owns the waiting task."""

    def __init__(self, name: str, act: Act) -> None:
        self._name = name
        self._act = act
        self._due: list[tuple[float, RequestKey]] = []
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def set(self, key: RequestKey, at: float) -> None:
        """Call `act` for a request at a time, in seconds since 1970. Times that were set before stay set."""
        if not self._due or at < self._due[0][0]:
            self._sooner.set()
        heapq.heappush(self._due, (at, key))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end_task(self._task)

    async def _run(self) -> None:
        while True:
            self._sooner.clear()
            wait_s = self._due[0][0] - time.time() if self._due else None
            if wait_s is None or wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._sooner.wait()
                except TimeoutError:
                    pass
                continue
            _, key = heapq.heappop(self._due)
            try:
                again_at = await self._act(key)
            except BrokerUnavailableError as error:
                _log.warning("timer.postponed", timer=self._name, request_id=key.request_id, cause=str(error))
                again_at = time.time() + RETRY_S
            except Exception as error:  # noqa: BLE001 - one request's trouble must not end the timers of all others
                _log.error("timer.fault", timer=self._name, request_id=key.request_id, exc_info=error)
                again_at = time.time() + RETRY_AFTER_FAULT_S
            if again_at is not None:
                self.set(key, again_at)
