"""Writing the steps and lines of one attempt to LOG, in order, without holding up the device.

Entries are handed over from the device's thread, numbered, and stored one after the other by a task. Before a
transition the writer is flushed, so that the record can name the last line before it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog
from cogreel.v1.queue_pb2 import LogLevel, LogLine, Progress

from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError
from jobs.record_pb2 import LogEntry
from jobs.subjects import RequestKey, log_subject
from jobs.tasks import end_task

BUFFERED_ENTRIES = 10_000
RETRY_S = 0.25
GIVE_UP_AFTER_REFUSALS = 40  # 10 s: LOG is out of space or out of order, and the request must not wait for it
LONGEST_LINE = 4096

_log = structlog.get_logger(__name__)


class LogWriter:
    """The writer of one attempt, as an async context manager. `last_seq` is the LOG sequence written last."""

    def __init__(self, broker: Broker, key: RequestKey, attempt: int, *, last_seq: int, write_id: str) -> None:
        self.last_seq = last_seq
        self._broker = broker
        self._subject = log_subject(key)
        self._attempt = attempt
        self._write_id = write_id
        self._number = 0
        self._entries: deque[LogEntry] = deque(maxlen=BUFFERED_ENTRIES)
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write(), name="log writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end_task(self._task)

    def progress(self, progress: Progress) -> None:
        """Add a step; `progress.attempt` is filled in. Call it in the event loop's thread."""
        progress.attempt = self._attempt
        self._add(LogEntry(progress=progress))

    def line(self, message: str, level: LogLevel.ValueType) -> None:
        """Add a line, cut to 4096 characters. Call it in the event loop's thread."""
        entry = LogEntry(line=LogLine(attempt=self._attempt, level=level, message=message[:LONGEST_LINE]))
        entry.line.time.FromDatetime(datetime.now(UTC))
        self._add(entry)

    def _add(self, entry: LogEntry) -> None:
        self._number += 1
        entry.attempt = self._attempt
        entry.number = self._number
        entry.time.FromDatetime(datetime.now(UTC))
        self._entries.append(entry)
        self._idle.clear()
        self._work.set()

    async def flush(self) -> int:
        """Wait until all is written, however long the broker is away, and return the LOG sequence written last.

        A transition would wait for the broker just as long, and must not overtake the lines before it.
        """
        await self._idle.wait()
        return self.last_seq

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._entries:
                await self._store(self._entries.popleft())
            self._idle.set()

    async def _store(self, entry: LogEntry) -> None:
        # The message id lets the server drop a repeat of what it has stored but could not acknowledge.
        headers = {"Nats-Msg-Id": f"{self._write_id}.{entry.number}"}
        payload = entry.SerializeToString()
        refusals, stalled = 0, False
        while refusals < GIVE_UP_AFTER_REFUSALS:
            try:
                reply = await self._broker.request(self._subject, payload, headers=headers)
                answer = json.loads(reply.data)
                if "error" not in answer:
                    self.last_seq = max(self.last_seq, int(answer["seq"]))
                    return
                refusals += 1
                _log.warning("log.refused", cause=answer["error"].get("description"))
            except BrokerUnavailableError as error:
                if not stalled:
                    _log.warning("log.stalled", cause=str(error))
                stalled = True
            await asyncio.sleep(RETRY_S)
