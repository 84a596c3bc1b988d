"""A request that a worker runs: how it ends, and what tells the worker to stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from cogreel.v1.queue_pb2 import Failure

from jobs import states
from jobs.broker import Broker
from jobs.deliveries import Delivery
from jobs.errors import QueueFullError
from jobs.log_writer import LogWriter
from jobs.publisher import Applied, Lost, Outcome, Undecided, key_of, publish_transition
from jobs.record_pb2 import Output, Record
from jobs.subjects import RequestKey

UNDECIDED_DELAY_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that was just claimed: its record at `seq`, and what is set when it must stop."""

    delivery: Delivery
    record: Record
    seq: int
    lost: asyncio.Event


class Lease:
    """A request that this worker runs. `lost` is set when it must stop: cancelled, or taken over."""

    def __init__(self, broker: Broker, claim: Claim, log: LogWriter) -> None:
        self.delivery = claim.delivery
        self.record = claim.record
        self.seq = claim.seq
        self.lost = claim.lost
        self.log = log
        self._broker = broker

    @property
    def key(self) -> RequestKey:
        """Which request it is."""
        return key_of(self.record)

    async def complete(self, output: Output) -> bool:
        """Publish the result; False if another state came first, so that the output is an orphan."""
        log_seq = await self.log.flush()
        return await self._decide(states.completed(self.record, output, log_seq=log_seq, now=datetime.now(UTC)))

    async def fail(self, failure: Failure) -> bool:
        """End the request as FAILED; False if another state came first."""
        log_seq = await self.log.flush()
        return await self._decide(states.failed(self.record, failure, log_seq=log_seq, now=datetime.now(UTC)))

    async def release(self, failure: Failure | None = None) -> bool:
        """Hand the request back, for a drain or with a failure worth a retry; the last attempt ends it as FAILED."""
        if failure is not None and states.exhausted(self.record, failure):
            return await self.fail(failure)
        log_seq = await self.log.flush()
        return await self._decide(states.released(self.record, failure=failure, log_seq=log_seq))

    async def _decide(self, record: Record) -> bool:
        while True:
            match await self._publish(record):
                case Applied(seq):
                    self.record, self.seq = record, seq
                    return True
                case Lost(seq, standing):
                    if standing is not None:  # else it was erased, and what it was is all that is known
                        self.record, self.seq = standing, seq
                    self.lost.set()
                    return False
                case Undecided(cause):
                    _log.warning("lease.undecided", request_id=record.request_id, cause=cause)

    async def _publish(self, record: Record) -> Outcome:
        try:
            return await publish_transition(self._broker, record, expected_seq=self.seq)
        except QueueFullError as error:
            await asyncio.sleep(UNDECIDED_DELAY_S)
            return Undecided(str(error))
