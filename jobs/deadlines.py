"""Requests that must end although no worker will end them.

- *Start timeout*: no attempt has begun within the time that the caller set.
- *Attempts exhausted with no worker left*: the last attempt's worker is gone, and nobody is there to find out. A worker
  that takes the delivery over would; where there is none, a service replica asks the holder itself.

Each replica does this over its own projection. Whoever is first publishes FAILED by compare-and-set; the others lose
and ignore it.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog
from cogreel.v1.queue_pb2 import FAILURE_REASON_START_TIMEOUT, Failure

from jobs import states
from jobs.broker import Broker
from jobs.control import Holding, ask_holding
from jobs.dispatch import ASK_EVERY_S, SILENCE_S
from jobs.publisher import Undecided, confirmed_state, key_of, publish_transition
from jobs.record_pb2 import Record, State
from jobs.streams import ACK_WAIT_S
from jobs.subjects import LOG, RequestKey, log_subject
from jobs.timers import Timers

LOOK_AFTER_HOLDER_S = ACK_WAIT_S + SILENCE_S  # by then a living worker would have taken the delivery over

_log = structlog.get_logger(__name__)


class Deadlines:
    """The deadlines of one replica, as an async context manager. `consider` is told of every state."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._starts = Timers("start timeouts", self._start_is_due)
        self._holders = Timers("last attempts", self._holder_is_due)
        self._silent_since: dict[RequestKey, float] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._starts)
            await stack.enter_async_context(self._holders)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def consider(self, record: Record) -> None:
        """Set what timers a state needs."""
        if record.attempt == 0 and record.state in states.WAITING and record.submission.HasField("start_timeout"):
            self._starts.set(key_of(record), start_deadline(record))
        if record.state == State.STATE_RUNNING and states.exhausted(record, states.lease_lost(record)):
            self._holders.set(key_of(record), time.time() + LOOK_AFTER_HOLDER_S)

    async def _start_is_due(self, key: RequestKey) -> float | None:
        found = await confirmed_state(self._broker, key)
        if found is None or found[1].attempt or found[1].state not in states.WAITING:
            return None
        seq, record = found
        if (remaining_s := start_deadline(record) - time.time()) > 0:
            return time.time() + remaining_s
        timeout_s = record.submission.start_timeout.ToMilliseconds() / 1000
        failure = Failure(
            reason=FAILURE_REASON_START_TIMEOUT, message=f"no attempt began within the start timeout of {timeout_s:g} s"
        )
        return await self._end(record, seq, failure, log_seq=0)

    async def _holder_is_due(self, key: RequestKey) -> float | None:
        """Ask the holder of a last attempt; end the request once it says no, or has been silent for 10 s."""
        silent_since = self._silent_since.pop(key, None)
        found = await confirmed_state(self._broker, key)
        if found is None or found[1].state != State.STATE_RUNNING:
            return None
        seq, record = found
        if not states.exhausted(record, states.lease_lost(record)):
            return None
        holding = await ask_holding(self._broker, record.worker.incarnation, key, record.attempt)
        if holding is Holding.MINE:
            return time.time() + LOOK_AFTER_HOLDER_S
        silent_since = silent_since or time.monotonic()
        if holding is Holding.SILENCE and time.monotonic() - silent_since < SILENCE_S:
            self._silent_since[key] = silent_since
            return time.time() + ASK_EVERY_S
        last_entry = await self._broker.last(LOG, log_subject(key))
        log_seq = last_entry.seq if last_entry is not None else 0
        return await self._end(record, seq, states.lease_lost(record), log_seq=log_seq)

    async def _end(self, record: Record, seq: int, failure: Failure, *, log_seq: int) -> float | None:
        wish = states.failed(record, failure, log_seq=log_seq, now=datetime.now(UTC))
        outcome = await publish_transition(self._broker, wish, expected_seq=seq)
        if isinstance(outcome, Undecided):
            return time.time() + ASK_EVERY_S
        _log.info("request.deadline", request_id=record.request_id, cause=failure.message)
        return None


def start_deadline(record: Record) -> float:
    """When the first attempt must have begun, in seconds since 1970."""
    return (record.queued_time.ToNanoseconds() + record.submission.start_timeout.ToNanoseconds()) / 1e9
