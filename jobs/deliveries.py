"""Pulling QUEUED messages from the durable consumers, and answering for them.

A worker asks the normal consumer, then the low one, each without waiting, and sleeps until the live copy of a new
message wakes it. Pulls that wait were tried: they starve low priority.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import nats.errors
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL
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
    """The consumers of some endpoints, as an async context manager."""

    def __init__(self, broker: Broker, endpoints: Sequence[str]) -> None:
        self._broker = broker
        self._endpoints = list(endpoints)
        self._woken = asyncio.Event()
        self._again: deque[Delivery] = deque()
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

    def bring_again(self, delivery: Delivery) -> None:
        """Let `next` give out a delivery that it has given before, as a later one: its state is to be looked at."""
        self._again.append(replace(delivery, first=False))
        self._woken.set()

    async def next(self) -> Delivery | None:
        """The next message: normal before low, and endpoints in turn; None once closed."""
        pauses = list(LOOK_AGAIN_S)
        while not self.closed:
            self._woken.clear()
            if self._again:
                return self._again.popleft()
            try:
                delivery = await self._look()
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

    async def _look(self) -> Delivery | None:
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
            for turn in range(len(self._endpoints)):
                delivery = await self._pull(consumer_name(self._endpoints[turn], priority))
                if delivery is not None:
                    self._endpoints = self._endpoints[turn + 1 :] + self._endpoints[: turn + 1]
                    return delivery
        return None

    async def _pull(self, consumer: str) -> Delivery | None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.{consumer}"
        try:
            # An old-style request keeps the message's own subject, which names the request.
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
        await _publish(self._broker, delivery.reply, b"+WPI")

    async def hand_back(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        """Give the message back: it goes out before any new one, after `delay_s`."""
        await hand_back(self._broker, delivery.reply, delay_s=delay_s)


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
