"""Requests for the tests of the queue, taken through their states as a service and a worker would."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from typing import Self

from cogreel.v1.queue_pb2 import LOG_LEVEL_INFO, PRIORITY_NORMAL, Failure, Priority

from jobs import states
from jobs.broker import Broker
from jobs.log_writer import LogWriter
from jobs.publisher import Applied, key_of, leader_state, publish_transition
from jobs.record_pb2 import Output, Record, Worker
from jobs.subjects import RequestKey


def new_request(
    *, endpoint: str = "test/model", priority: Priority.ValueType = PRIORITY_NORMAL, max_attempts: int = 3
) -> Record:
    """The first record of a request of a tenant that no other test knows."""
    record = Record(
        tenant=f"tenant {secrets.token_hex(4)}",
        request_id=str(uuid.uuid4()),
        endpoint=endpoint,
        priority=priority,
        max_attempts=max_attempts,
    )
    return states.queued(record, now=datetime.now(UTC))


def output_named(object_key: str) -> Output:
    """A result that can be told from others."""
    return Output(object_key=object_key)


class Request:
    """A request in the queue, with the record and the sequence that it was last moved to from here."""

    def __init__(self, broker: Broker, record: Record, seq: int) -> None:
        self.record = record
        self.seq = seq
        self._broker = broker

    @classmethod
    async def submit(
        cls,
        broker: Broker,
        *,
        endpoint: str = "test/model",
        priority: Priority.ValueType = PRIORITY_NORMAL,
        max_attempts: int = 3,
    ) -> Self:
        """Queue a new request."""
        request = cls(broker, new_request(endpoint=endpoint, priority=priority, max_attempts=max_attempts), 0)
        await request.move_to(request.record)
        return request

    @property
    def key(self) -> RequestKey:
        """Which request it is."""
        return key_of(self.record)

    async def move_to(self, record: Record) -> None:
        """Publish the next state; it must apply."""
        outcome = await publish_transition(self._broker, record, expected_seq=self.seq)
        assert isinstance(outcome, Applied), outcome
        self.record, self.seq = record, outcome.seq

    async def claim(self, *, incarnation: str = "tester", log_seq: int = 0) -> None:
        """Give it to a worker, or to another one."""
        worker = Worker(incarnation=incarnation, name=f"worker {incarnation}")
        queued_seq = self.record.queued_seq or self.seq
        now = datetime.now(UTC)
        await self.move_to(states.claimed(self.record, worker, queued_seq=queued_seq, log_seq=log_seq, now=now))

    async def release(self, *, failure: Failure | None = None, log_seq: int = 0) -> None:
        """Hand it back to the queue."""
        await self.move_to(states.released(self.record, failure=failure, log_seq=log_seq))

    async def complete(self, *, log_seq: int = 0) -> None:
        """Give it a result."""
        now = datetime.now(UTC)
        await self.move_to(states.completed(self.record, output_named("video.mp4"), log_seq=log_seq, now=now))

    def writer(self) -> LogWriter:
        """The writer of the running attempt."""
        return LogWriter(
            self._broker,
            self.key,
            self.record.attempt,
            last_seq=self.record.log_seq,
            write_id=self.record.write_id.hex(),
        )

    async def write_lines(self, messages: list[str]) -> int:
        """Write lines of the running attempt as its writer; the LOG sequence of the last."""
        async with self.writer() as writer:
            for message in messages:
                writer.line(message, LOG_LEVEL_INFO)
            return await writer.flush()

    async def current(self) -> Record:
        """The record as the leader has it."""
        found = await leader_state(self._broker, self.key)
        assert found is not None
        return found[1]
