"""The supervisor of worker processes: it speaks for the dead.

When a worker process dies, the request that it had must not wait for its lease to run out. The supervisor answers in
the dead run's place that nothing is being worked on, and hands its delivery back, so that another worker takes over at
once. Starting and restarting the processes is left to `host`, which tells the supervisor what happens to them.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog

from jobs.broker import Broker
from jobs.control import answer_controls
from jobs.deliveries import hand_back
from jobs.errors import BrokerUnavailableError

ANSWERED_FOR = 100

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class WorkerRun:
    """One run of a worker process, as its reports tell: `replies` answer for the deliveries that it works on."""

    incarnation: str = field(default_factory=lambda: secrets.token_hex(8))
    ready: bool = False
    replies: list[str] = field(default_factory=list)

    def report(self, line: str) -> None:
        """Take in a report: a line that `leases_report` or `ready_report` made."""
        news = json.loads(line)
        self.ready = self.ready or bool(news.get("ready", False))
        self.replies = news.get("replies", self.replies)


def ready_report() -> str:
    """What a worker process reports once it serves."""
    return json.dumps({"ready": True})


def leases_report(replies: list[str]) -> str:
    """What a worker process reports whenever it begins or ends a delivery: those that it works on."""
    return json.dumps({"replies": replies})


class Supervisor:
    """Speaks for runs that have ended, for as long as the block lasts."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._buried: deque[AbstractAsyncContextManager[None]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._buried:
            await self._buried.popleft().__aexit__(None, None, None)

    async def bury(self, run: WorkerRun) -> None:
        """Answer for a run that has ended, and give back what it had. Its process must be dead.

        Runs that never served have nothing to be asked about. The last 100 are answered for: the requests of earlier
        ones have long been taken over.
        """
        if not run.ready:
            return
        try:
            answering = answer_controls(
                self._broker, run.incarnation, holds=lambda _key, _attempt: False, on_cancel=lambda _key: None
            )
            await answering.__aenter__()
            self._buried.append(answering)
            if len(self._buried) > ANSWERED_FOR:
                await self._buried.popleft().__aexit__(None, None, None)
            for reply in run.replies:
                await hand_back(self._broker, reply)
        except BrokerUnavailableError as error:
            # The lease runs out by itself, and silence counts as death after 10 s.
            _log.warning("supervisor.not_told", incarnation=run.incarnation, cause=str(error))
