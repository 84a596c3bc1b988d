"""The worker's side of the queue: how a request is taken, kept and given up.

On a delivery the worker reads the request's state from the leader and acts on it:

    terminal             acknowledge: there is nothing to do
    QUEUED, RELEASED     claim it by RUNNING(attempt n + 1)
    RUNNING elsewhere    ask that worker:
                           mine      leave the delivery alone
                           not mine  take over by RUNNING(attempt n + 1)
                           silence   hold the delivery, ask each second, take over after 10 s

A delivery alone proves nothing: a broker that was killed may hand out again what was acknowledged. What decides is the
compare-and-set, and a worker that lost it writes nothing more. While a request runs, its delivery is kept and its state
looked at every 5 s; a cancellation comes sooner, by a control message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from cogreel.v1.queue_pb2 import Failure

from jobs import failpoints, states
from jobs.broker import Broker
from jobs.control import Holding, ask_holding
from jobs.deliveries import Deliveries, Delivery
from jobs.errors import BrokerUnavailableError, QueueFullError
from jobs.log_writer import LogWriter
from jobs.publisher import Applied, Lost, Outcome, Undecided, confirmed_state, key_of, leader_state, publish_transition
from jobs.record_pb2 import Output, Record, State, Worker
from jobs.subjects import LOG, RequestKey, log_subject
from jobs.tasks import end_task

HEARTBEAT_S = 5.0
SILENCE_S = 10.0  # a reconnect takes 2 s and an election 5 s; the sum, rounded up
ASK_EVERY_S = 1.0
UNDECIDED_DELAY_S = 1.0
FAULT_DELAY_S = 60.0
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0

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


class Dispatcher:
    """Takes requests for one worker process. `deliveries` must be entered; `worker` names this run."""

    def __init__(self, broker: Broker, deliveries: Deliveries, worker: Worker) -> None:
        self.worker = worker
        self._broker = broker
        self._deliveries = deliveries
        self._held: dict[tuple[RequestKey, int], asyncio.Event] = {}

    def holds(self, key: RequestKey, attempt: int) -> bool:
        """Whether this process is working on an attempt, or claiming it at this moment."""
        return (key, attempt) in self._held

    def cancel(self, key: RequestKey) -> None:
        """Stop working on a request, if this process is."""
        for (held, _), lost in self._held.items():
            if held == key:
                lost.set()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[Lease | None]:
        """Wait for a request and lease it; None once the deliveries are closed.

        At the end of the block the delivery is answered for: what has not ended is handed back.
        """
        claim = await self._claim()
        if claim is None:
            yield None
            return
        record = claim.record
        key, attempt = key_of(record), record.attempt
        writer = LogWriter(self._broker, key, attempt, last_seq=record.log_seq, write_id=record.write_id.hex())
        lease = Lease(self._broker, claim, writer)
        # Before the tasks of the attempt are made: they log under its name as well.
        structlog.contextvars.bind_contextvars(request_id=key.request_id, attempt=attempt)
        try:
            async with writer:
                heartbeat = asyncio.create_task(self._heartbeat(lease), name="heartbeat")
                try:
                    yield lease
                finally:
                    await end_task(heartbeat)
        finally:
            self._let_go((key, attempt), lease.lost)
            await self._settle(lease)
            structlog.contextvars.unbind_contextvars("request_id", "attempt")

    def _let_go(self, held: tuple[RequestKey, int], lost: asyncio.Event) -> None:
        # A request that was erased and submitted anew counts its attempts anew: the entry may be a later lease's.
        if self._held.get(held) is lost:
            del self._held[held]

    async def _settle(self, lease: Lease) -> None:
        """Answer for the delivery, by what has become of the request."""
        failpoints.reach(failpoints.ATTEMPT_FINISHED)
        record = lease.record
        if record.state == State.STATE_RUNNING:
            # Stopped without a transition of ours: cancelled, taken over, or a fault.
            try:
                current = await confirmed_state(self._broker, lease.key)
            except BrokerUnavailableError:
                current = (lease.seq, lease.record)
            if current is None:
                await self._deliveries.done(lease.delivery)
                return
            record = current[1]
        if record.state in states.TERMINAL:
            await self._deliveries.done(lease.delivery)
        elif record.state == State.STATE_RELEASED:
            used = len(record.failed_attempts)  # by whoever released it: its pause is not cut short
            backoff_s = min(FIRST_BACKOFF_S * 2 ** (used - 1), LONGEST_BACKOFF_S) if used else 0.0
            await self._hand_back(lease.delivery, backoff_s)
        else:
            await self._hand_back(lease.delivery, UNDECIDED_DELAY_S)

    async def _hand_back(self, delivery: Delivery, delay_s: float) -> None:
        try:
            await self._deliveries.hand_back(delivery, delay_s=delay_s)
        except BrokerUnavailableError as error:
            _log.warning("delivery.not_handed_back", request_id=delivery.key.request_id, cause=str(error))

    async def _heartbeat(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await self._deliveries.keep(lease.delivery)
                found = await leader_state(self._broker, lease.key)
            except BrokerUnavailableError:
                continue
            if found is not None and found[0] > lease.seq:  # an older one is what a broker that slept believes
                lease.lost.set()

    async def _claim(self) -> Claim | None:
        while (delivery := await self._deliveries.next()) is not None:
            try:
                claim = await self._act_on(delivery)
            except (BrokerUnavailableError, QueueFullError) as error:
                _log.warning("delivery.postponed", request_id=delivery.key.request_id, cause=str(error))
                await self._hand_back(delivery, UNDECIDED_DELAY_S)
                continue
            except Exception as error:  # noqa: BLE001 - one request's trouble must not end the worker of all others
                _log.error("delivery.fault", request_id=delivery.key.request_id, exc_info=error)
                await self._hand_back(delivery, FAULT_DELAY_S)
                continue
            if claim is not None:
                return claim
        return None

    async def _act_on(self, delivery: Delivery) -> Claim | None:
        # Confirmed, since who acknowledges for a request that only seems to be gone has lost it.
        found = await confirmed_state(self._broker, delivery.key)
        while True:
            if found is None or found[1].state in states.TERMINAL:
                await self._deliveries.done(delivery)
                return None
            seq, record = found
            if record.state == State.STATE_RUNNING:
                holding = await self._who_holds(delivery, record)
                if holding is Holding.MINE:
                    return None
                current = await confirmed_state(self._broker, delivery.key)
                if current is None or current[0] != seq:
                    found = current
                    continue
            claim, outcome = await self._take(delivery, record, seq)
            if claim is not None:
                return claim
            match outcome:
                case Applied(_):
                    await self._deliveries.done(delivery)
                    return None
                case Lost(lost_seq, standing):
                    found = None if standing is None else (lost_seq, standing)
                case Undecided(cause):
                    raise BrokerUnavailableError(cause)

    async def _who_holds(self, delivery: Delivery, record: Record) -> Holding:
        """Ask until the holder speaks or has been silent for 10 s."""
        key = delivery.key
        if record.worker.incarnation == self.worker.incarnation:
            return Holding.MINE if self.holds(key, record.attempt) else Holding.NOT_MINE
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SILENCE_S
        while True:
            asked_at = loop.time()
            holding = await ask_holding(self._broker, record.worker.incarnation, key, record.attempt)
            if holding is not Holding.SILENCE:
                return holding
            await leader_state(self._broker, key)  # raises where it is the broker that is silent, not the holder
            if loop.time() >= deadline:
                return holding
            await self._deliveries.keep(delivery)
            await asyncio.sleep(max(0.0, asked_at + ASK_EVERY_S - loop.time()))

    async def _take(self, delivery: Delivery, record: Record, seq: int) -> tuple[Claim | None, Outcome]:
        """Claim the request, or end it where the lost attempt was its last; the claim, and what came of the publish."""
        last_entry = await self._broker.last(LOG, log_subject(delivery.key))
        log_seq = last_entry.seq if last_entry is not None else 0
        now = datetime.now(UTC)
        failure = states.lease_lost(record) if record.state == State.STATE_RUNNING else None
        if failure is not None and states.exhausted(record, failure):
            wish = states.failed(record, failure, log_seq=log_seq, now=now)
            return None, await publish_transition(self._broker, wish, expected_seq=seq)
        wish = states.claimed(record, self.worker, queued_seq=delivery.queued_seq, log_seq=log_seq, now=now)
        held = (delivery.key, wish.attempt)
        # From before the publish on: who asks meanwhile must hear «mine», and a cancellation must not be missed.
        lost = self._held[held] = asyncio.Event()
        claim: Claim | None = None
        try:
            outcome = await publish_transition(self._broker, wish, expected_seq=seq)
            if isinstance(outcome, Applied):
                claim = Claim(delivery, wish, outcome.seq, lost)
        finally:
            if claim is None:
                self._let_go(held, lost)
        return claim, outcome
