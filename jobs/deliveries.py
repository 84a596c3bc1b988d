"""Pulling QUEUED messages from the durable consumers, and answering for them.

A worker asks the normal consumer, then the low one, each without waiting, and sleeps until the live copy of a new
message wakes it. Pulls that wait were tried: they starve low priority.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import nats.errors
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from jobs.broker import REQUEST_TIMEOUT_S, UNREACHABLE, Broker
from jobs.errors import BrokerUnavailableError
from jobs.record_pb2 import Record
from jobs.subjects import LIVE, REQ, RequestKey, consumer_name, parse_request, queued_filter

# The live copy of a message may come before its consumer has noticed it (1 hand-off in 100, measured): without looking
# again, such a request would wait for the poll.
LOOK_AGAIN_S = (0.001, 0.004, 0.016, 0.064)
POLL_S = 1.0  # a handed-back request whose delay is over wakes nobody
_PULL = json.dumps({"batch": 1, "no_wait": True}).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One hand-out of a QUEUED message.

    `queued_seq` is its place in the queue and `record` what it says: the request as it was accepted. `reply` is where
    it is answered for. `first` tells that nobody has had it before, as far as the broker remembers.
    """

    key: RequestKey
    queued_seq: int
    record: Record
    reply: str
    first: bool


class Deliveries:
    """The consumers of some endpoints, as an async context manager.

    `paused` says which endpoints and priorities are left alone for now; `wake` when that changes.
    """

    def __init__(
        self,
        broker: Broker,
        endpoints: Sequence[str],
        *,
        paused: Callable[[str, Priority.ValueType], bool] = lambda _endpoint, _priority: False,
    ) -> None:
        self._broker = broker
        self._endpoints = list(endpoints)
        self._paused = paused
        self._woken = asyncio.Event()
        self._again: deque[Delivery] = deque()
        self._awaited = 0
        self.closed = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async def on_news(_: Msg) -> None:
            self._woken.set()

        subjects = [
            f"{LIVE}{queued_filter(endpoint, priority)}"
            for endpoint in self._endpoints
            for priority in (PRIORITY_NORMAL, PRIORITY_LOW)
        ]
        async with AsyncExitStack() as stack:
            for subject in (*subjects, f"{LIVE}req.*.*.st.RELEASED"):
                subscription = await self._broker.nc.subscribe(subject, cb=on_news)
                stack.push_async_callback(_unsubscribe, self._broker, subscription)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        for delivery in self._again:
            try:
                await self.hand_back(delivery)
            except BrokerUnavailableError:
                return  # it goes out again after its ack wait

    def wake(self) -> None:
        """Look again at once."""
        self._woken.set()

    def close(self) -> None:
        """Take nothing more: `next` gives None from now on, and `closed` is true."""
        self.closed = True
        self._woken.set()

    async def bring_again(self, delivery: Delivery) -> None:
        """Let whoever waits in `next` have a delivery that it gave out before; if nobody does, give it back.

        It is a later one then: its state is to be looked at. Given back, it goes to any worker that is free.

        Raises:
            BrokerUnavailableError: it could not be given back, and goes out again after its ack wait.
        """
        if not self._awaited:
            await self.hand_back(delivery)
            return
        self._again.append(replace(delivery, first=False))
        self._woken.set()

    async def next(self) -> Delivery | None:
        """The next message: normal before low, and endpoints in turn; None once closed."""
        self._awaited += 1
        try:
            return await self._next()
        finally:
            self._awaited -= 1

    async def _next(self) -> Delivery | None:
        pauses = list(LOOK_AGAIN_S)
        while not self.closed:
            self._woken.clear()
            try:
                delivery = await self._brought_again() or await self._look()
            except BrokerUnavailableError:
                await asyncio.sleep(0.25)
                continue
            if delivery is not None:
                return delivery
            try:
                async with asyncio.timeout(pauses.pop(0) if pauses else POLL_S):
                    await self._woken.wait()
                pauses = list(LOOK_AGAIN_S)
            except TimeoutError:
                continue
        return None

    async def _brought_again(self) -> Delivery | None:
        """What was brought again; what has been paused since goes back to its consumer and waits there."""
        while self._again:
            delivery = self._again.popleft()
            if not self._paused(delivery.record.endpoint, delivery.record.priority):
                return delivery
            await self.hand_back(delivery)
        return None

    async def _look(self) -> Delivery | None:
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
            for turn in range(len(self._endpoints)):
                if self._paused(self._endpoints[turn], priority):
                    continue
                delivery = await self._pull(consumer_name(self._endpoints[turn], priority))
                if delivery is not None:
                    self._endpoints = self._endpoints[turn + 1 :] + self._endpoints[: turn + 1]
                    return delivery
        return None

    async def _pull(self, consumer: str) -> Delivery | None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.{consumer}"
        try:
            # An old-style request keeps the message's own subject, which names the request.
            async with self._broker.heeding_denials(subject):
                message = await self._broker.nc.request(subject, _PULL, timeout=REQUEST_TIMEOUT_S, old_style=True)
        except UNREACHABLE as error:
            raise BrokerUnavailableError(str(error) or type(error).__name__) from error
        if not message.reply:
            return None
        about = message.metadata
        return Delivery(
            key=parse_request(message.subject),
            queued_seq=about.sequence.stream,
            record=Record.FromString(message.data),
            reply=message.reply,
            first=about.num_delivered == 1,
        )

    async def done(self, delivery: Delivery) -> None:
        """Acknowledge: the request is terminal. Not reaching the broker is harmless, the message comes again."""
        try:
            await self._broker.request(delivery.reply, b"+ACK")
        except BrokerUnavailableError:
            self.wake()

    async def keep(self, delivery: Delivery) -> None:
        """Say that the message is being worked on, which puts off its redelivery."""
        await keep_delivery(self._broker, delivery.reply)

    async def hand_back(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        """Give the message back: it goes out before any new one, after `delay_s`."""
        await hand_back(self._broker, delivery.reply, delay_s=delay_s)


async def keep_delivery(broker: Broker, reply: str) -> None:
    """Say of a message, by its reply subject, that it is being worked on."""
    await _publish(broker, reply, b"+WPI")


async def hand_back(broker: Broker, reply: str, *, delay_s: float = 0.0) -> None:
    """Give a message back by its reply subject; a supervisor does so for a child that died."""
    body = b"-NAK" if not delay_s else b"-NAK " + json.dumps({"delay": int(delay_s * 1e9)}).encode()
    await _publish(broker, reply, body)


async def _publish(broker: Broker, subject: str, body: bytes) -> None:
    """Best effort: the consumer redelivers by itself after its ack wait."""
    try:
        await broker.nc.publish(subject, body)
    except nats.errors.Error as error:
        raise BrokerUnavailableError(str(error) or type(error).__name__) from error


async def _unsubscribe(broker: Broker, subscription: Subscription) -> None:
    if not broker.nc.is_closed:
        await subscription.unsubscribe()
