"""The worker's side of the queue: how a request is taken, kept and given up.

On a delivery the worker acts on the request's state:

    terminal             acknowledge: there is nothing to do
    QUEUED, RELEASED     claim it by RUNNING(attempt n + 1)
    RUNNING elsewhere    ask that worker:
                           mine      leave the delivery alone
                           not mine  take over by RUNNING(attempt n + 1)
                           silence   hold the delivery, ask each second, take over after 10 s

A first delivery is taken at its word, QUEUED, and for any later one the state is read from the leader. Neither proves
anything: a broker that was killed may hand out again what was acknowledged. What decides is the compare-and-set, and a
worker that lost it writes nothing more. While a request runs, its delivery is kept and its state looked at every 5 s; a
cancellation comes sooner, by a control message.

A silent holder is asked beside the work: meanwhile the worker takes other requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from jobs import failpoints, states
from jobs.broker import Broker
from jobs.control import Holding, ask_holding
from jobs.deliveries import Deliveries, Delivery
from jobs.errors import BrokerUnavailableError, QueueFullError
from jobs.lease import UNDECIDED_DELAY_S, Claim, Lease
from jobs.log_writer import LogWriter
from jobs.publisher import Applied, Lost, Outcome, Undecided, confirmed_state, key_of, leader_state, publish_transition
from jobs.record_pb2 import Record, State, Worker
from jobs.subjects import LOG, RequestKey, log_subject
from jobs.tasks import end_task

HEARTBEAT_S = 5.0
SILENCE_S = 10.0  # a reconnect takes 2 s and an election 5 s; the sum, rounded up
ASK_EVERY_S = 1.0
FAULT_DELAY_S = 60.0
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Takes requests for one worker process, as an async context manager.

    `deliveries` must be entered; `worker` names this run.
    """

    def __init__(self, broker: Broker, deliveries: Deliveries, worker: Worker) -> None:
        self.worker = worker
        self._broker = broker
        self._deliveries = deliveries
        self._held: dict[tuple[RequestKey, int], asyncio.Event] = {}
        self._outwaiting: set[asyncio.Task[None]] = set()
        self._silent: dict[RequestKey, tuple[int, float]] = {}
        """The sequences of states whose holder has been silent for long enough, and the moment of the last silence."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._outwaiting):
            await end_task(task)

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
            await self._hand_back(lease.delivery, _pause_s(record))
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
        found: tuple[int, Record] | None = delivery.queued_seq, delivery.record
        if not delivery.first:
            # Confirmed, since who acknowledges for a request that only seems to be gone has lost it.
            found = await confirmed_state(self._broker, delivery.key)
        while found is not None and found[1].state not in states.TERMINAL:
            seq, record = found
            if record.state == State.STATE_RUNNING and not await self._is_abandoned(delivery, record, seq):
                return None
            claim, outcome = await self._take(delivery, record, seq)
            if claim is not None:
                return claim
            match outcome:
                case Applied(_):
                    break
                case Lost(lost_seq, standing):
                    found = None if standing is None else (lost_seq, standing)
                case Undecided(cause):
                    raise BrokerUnavailableError(cause)
        await self._deliveries.done(delivery)
        return None

    async def _is_abandoned(self, delivery: Delivery, record: Record, seq: int) -> bool:
        """Whether a running request is in nobody's hands. If that takes long to find out, the delivery comes again."""
        loop = asyncio.get_running_loop()
        asked_at, losses = loop.time(), self._broker.losses
        known_seq, silent_at = self._silent.pop(delivery.key, (0, 0.0))
        outwaited = known_seq == seq and asked_at - silent_at <= 2 * ASK_EVERY_S
        holding = await self._who_holds(record)  # once more in any case: it may have come back since
        if holding is Holding.SILENCE and not outwaited and loop.time() < asked_at + SILENCE_S:
            self._outwait(delivery, record, seq, until=asked_at + SILENCE_S, losses=losses)
            return False
        return holding is not Holding.MINE

    async def _who_holds(self, record: Record) -> Holding:
        key = key_of(record)
        if record.worker.incarnation == self.worker.incarnation:
            return Holding.MINE if self.holds(key, record.attempt) else Holding.NOT_MINE
        return await ask_holding(self._broker, record.worker.incarnation, key, record.attempt)

    def _outwait(self, delivery: Delivery, record: Record, seq: int, *, until: float, losses: int) -> None:
        """Wait beside the work until the holder speaks or has been silent for 10 s; then the delivery comes again."""

        async def outwait() -> None:
            try:
                if await self._stays_silent(delivery, record, seq, until=until, losses=losses):
                    self._silent[delivery.key] = seq, asyncio.get_running_loop().time()
                await self._deliveries.bring_again(delivery)
            except BrokerUnavailableError:
                await self._hand_back(delivery, UNDECIDED_DELAY_S)
            except asyncio.CancelledError:
                await self._hand_back(delivery, 0.0)
                raise

        task = asyncio.create_task(outwait(), name="outwaiting a silent holder")
        self._outwaiting.add(task)
        task.add_done_callback(self._outwaiting.discard)

    async def _stays_silent(self, delivery: Delivery, record: Record, seq: int, *, until: float, losses: int) -> bool:
        """Keep a delivery and ask its holder each second; False as soon as it speaks or the state is another one.

        `losses` is how often the connection had been lost when it was asked first.

        Raises:
            BrokerUnavailableError: it is the broker that is silent, or that was away meanwhile, not the holder.
        """
        loop = asyncio.get_running_loop()
        while (asked_at := loop.time()) < until:
            await self._deliveries.keep(delivery)
            if await self._who_holds(record) is not Holding.SILENCE:
                return False
            found = await leader_state(self._broker, delivery.key)
            if self._broker.losses != losses:
                raise BrokerUnavailableError("the connection was lost while the holder was asked")
            if found is not None and found[0] > seq:
                return False
            await asyncio.sleep(max(0.0, asked_at + ASK_EVERY_S - loop.time()))
        return True

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
            outcome = await self._decided(wish, seq)
            if isinstance(outcome, Applied):
                claim = Claim(delivery, wish, outcome.seq, lost)
        finally:
            if claim is None:
                self._let_go(held, lost)
        return claim, outcome

    async def _decided(self, wish: Record, seq: int) -> Outcome:
        """Publish a claim until it is decided: one that was given up may be applied, and its attempt would be lost."""
        while True:
            outcome = await publish_transition(self._broker, wish, expected_seq=seq)
            if not isinstance(outcome, Undecided) or self._deliveries.closed:
                return outcome
            _log.warning("claim.undecided", request_id=wish.request_id, cause=outcome.cause)


def _pause_s(record: Record) -> float:
    """How long a released request rests: not at all after a drain, and longer with each failure.

    By its record, whoever released it: another's pause is not cut short.
    """
    failures = record.failed_attempts
    if not failures or failures[-1].attempt != record.attempt:
        return 0.0
    return float(min(FIRST_BACKOFF_S * 2 ** (len(failures) - 1), LONGEST_BACKOFF_S))
