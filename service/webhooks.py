"""Delivering webhooks: every replica takes from the durable consumer what has ended, and tells its receiver.

    handed out ──► POST ──► 2xx: kept as delivered, acknowledged
                     │ ──► 410, refused address, last try: kept as given up, acknowledged
                     └───► anything else: kept with its next time, handed back until then

What came of a POST is kept before the hand-out is answered for. While it cannot be kept, the replica remembers it and
sends nothing again. One that dies in between leaves a POST that nobody knows of, and it is sent again with the same
id: at least once in crashes, once otherwise.

Slow receivers hold up nobody else: what their host and their tenant have no place for is handed back for a while
(`service.webhook_turns`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog
from cogreel.v1.queue_pb2 import WebhookDelivery
from cogreel.v1.video_pb2 import VideoOutput

from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError, QueueFullError
from jobs.record_pb2 import Record
from jobs.subjects import RequestKey
from jobs.tasks import end_task
from jobs.webhook_keys import WebhookKeys
from jobs.webhooks import Ended, EndedRequests, wanted
from service.metrics import ServiceMetrics
from service.webhook_payload import webhook_body
from service.webhook_receivers import Receivers, Reply, host_of
from service.webhook_signing import signed_headers
from service.webhook_turns import BusyError, Place, Turns

MOST_UNKEPT = 10_000
KEEP_EVERY_S = 10.0  # a third of the ack wait
EARLY_S = 0.5  # a hand-out that comes by less than this too early is on time
TROUBLE_DELAY_S = 2.0
FAULT_DELAY_S = 600.0
PULL_AGAIN_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """`retry_after_s` are the pauses before the second try, the third and so on; after the last one it is given up.

    By default 11 tries within two hours, as on the hosted service. A receiver that asks for more time gets it, up to
    the longest of the pauses. `timeout_s` bounds one POST; `most_held` is how many a replica has in hand at a time.
    """

    retry_after_s: tuple[float, ...] = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3000)
    timeout_s: float = 15.0
    most_held: int = 1024


_Moment = tuple[RequestKey, int]
"""A terminal state: its request and its sequence."""


class WebhookSender:
    """The deliveries of one replica, as an async context manager.

    `output_of` gives the result of a completed request with a URL made for the moment. At the end, POSTs that are under
    way may take `grace_s`; those that are broken off are sent again by another replica.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        broker: Broker,
        receivers: Receivers,
        output_of: Callable[[Record], VideoOutput],
        *,
        metrics: ServiceMetrics,
        grace_s: float,
    ) -> None:
        self._settings = settings
        self._ended = EndedRequests(broker)
        self._keys = WebhookKeys(broker)
        self._receivers = receivers
        self._output_of = output_of
        self._metrics = metrics
        self._grace_s = grace_s
        self._turns = Turns(settings.most_held)
        self._held: dict[asyncio.Task[None], Ended] = {}
        self._unkept: OrderedDict[_Moment, WebhookDelivery] = OrderedDict()
        self._room = asyncio.Event()
        self._closing = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(end_task, asyncio.create_task(self._keep(), name="webhooks kept"))
            stack.push_async_callback(self._finish)
            stack.push_async_callback(end_task, asyncio.create_task(self._take(), name="webhooks"))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _take(self) -> None:
        """Take what has ended, for as long as there is room."""
        while True:
            try:
                self._room.clear()
                if not self._turns.free:
                    await self._room.wait()
                    continue
                async with aclosing(self._ended.pull(self._turns.free)) as pulled:
                    async for ended in pulled:
                        await self._accept(ended)
            except BrokerUnavailableError as error:
                _log.warning("webhooks.waiting", cause=str(error))
                await asyncio.sleep(PULL_AGAIN_S)
            except Exception as error:  # noqa: BLE001 - one record's trouble must not end the deliveries of all others
                _log.error("webhooks.fault", exc_info=error)
                await asyncio.sleep(PULL_AGAIN_S)

    async def _accept(self, ended: Ended) -> None:
        """Start a delivery, or put it off where its receiver or its tenant has enough to do."""
        if not wanted(ended.record):
            await self._ended.done(ended)
            return
        if any(held.seq == ended.seq for held in self._held.values()):  # a broker that was away lost our word for it
            await self._ended.again(ended, delay_s=TROUBLE_DELAY_S)
            return
        try:
            place = self._turns.take(ended.key.tenant, host_of(ended.record.submission.webhook_url))
        except BusyError as busy:
            await self._ended.again(ended, delay_s=busy.delay_s)
            return
        task = asyncio.create_task(self._in_turn(ended, place), name=f"webhook {ended.key.request_id}")
        self._held[task] = ended
        task.add_done_callback(lambda done: self._let_go(done, place))

    def _let_go(self, task: asyncio.Task[None], place: Place) -> None:
        del self._held[task]
        self._turns.give_back(place)
        self._room.set()

    async def _in_turn(self, ended: Ended, place: Place) -> None:
        try:
            async with place.at_once:
                if self._closing:
                    await self._hand_back(ended, 0.0)
                else:
                    await self._deliver(ended, place.host)
        except asyncio.CancelledError:
            await self._hand_back(ended, 0.0)
            raise
        except (BrokerUnavailableError, QueueFullError) as error:
            _log.warning("webhook.postponed", request_id=ended.key.request_id, cause=str(error))
            await self._hand_back(ended, TROUBLE_DELAY_S)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error("webhook.fault", request_id=ended.key.request_id, exc_info=error)
            await self._hand_back(ended, FAULT_DELAY_S)

    async def _hand_back(self, ended: Ended, delay_s: float) -> None:
        try:
            await self._ended.again(ended, delay_s=delay_s)
        except BrokerUnavailableError as error:  # it is handed out again by itself
            _log.warning("webhook.not_handed_back", request_id=ended.key.request_id, cause=str(error))

    async def _deliver(self, ended: Ended, host: str) -> None:
        """Make the next try, if it is due, and answer for the hand-out."""
        seq, delivery = await self._ended.read(ended)
        if delivery.delivered or delivery.given_up:
            await self._ended.done(ended)
            return
        early_s = delivery.next_time.ToNanoseconds() / 1e9 - time.time()
        if early_s > EARLY_S:  # a broker that was restarted forgets what it was told to wait for
            await self._ended.again(ended, delay_s=early_s)
            return
        moment = (ended.key, ended.seq)
        known = self._unkept.get(moment)
        if known is not None and known.attempts > delivery.attempts:
            delivery = known
        else:
            self._judge(delivery, await self._try(ended, delivery.delivery_id))
            self._tell(ended, host, delivery)
            self._remember(moment, delivery)
        kept = await self._ended.write(ended, delivery, expected_seq=seq)
        self._unkept.pop(moment, None)
        if kept and (delivery.delivered or delivery.given_up):
            await self._ended.done(ended)
        else:  # where the request was erased meanwhile, it does not come again
            due_s = delivery.next_time.ToNanoseconds() / 1e9 - time.time()
            await self._ended.again(ended, delay_s=due_s if kept else 0.0)

    def _remember(self, moment: _Moment, delivery: WebhookDelivery) -> None:
        self._unkept[moment] = delivery
        if len(self._unkept) > MOST_UNKEPT:
            self._unkept.popitem(last=False)

    async def _try(self, ended: Ended, delivery_id: str) -> Reply:
        record = ended.record
        body = webhook_body(record, self._output_of)
        headers = signed_headers(
            (await self._keys.current()).signing(datetime.now(UTC)),
            body,
            request_id=record.request_id,
            tenant=record.tenant,
            delivery_id=delivery_id,
            timestamp=int(time.time()),
        )
        return await self._receivers.post(record.submission.webhook_url, headers, body)

    def _judge(self, delivery: WebhookDelivery, reply: Reply) -> None:
        """Write into the delivery what came of a try, and when the next one is, if there is one."""
        delivery.attempts += 1
        delivery.last_status = reply.status
        delivery.problem = reply.problem
        delivery.delivered = not reply.problem
        delivery.ClearField("next_time")
        if delivery.delivered:
            return
        pauses_s = self._settings.retry_after_s
        delivery.given_up = reply.final or delivery.attempts > len(pauses_s)
        if not delivery.given_up:
            # Receivers that were away together need not be called together when they are back.
            pause_s = pauses_s[delivery.attempts - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
            pause_s = max(pause_s, min(reply.retry_after_s, max(pauses_s)))
            delivery.next_time.FromNanoseconds(int((time.time() + pause_s) * 1e9))
        elif not reply.final:
            delivery.problem += f"; given up after {delivery.attempts} tries"

    def _tell(self, ended: Ended, host: str, delivery: WebhookDelivery) -> None:
        outcome = "delivered" if delivery.delivered else "given_up" if delivery.given_up else "failed"
        self._metrics.webhook_tried(outcome)
        tell = _log.info if delivery.delivered else _log.warning
        tell(
            f"webhook.{outcome}",
            request_id=ended.key.request_id,
            tenant=ended.key.tenant,
            host=host,  # not the URL, which may hold the receiver's secret
            tries=delivery.attempts,
            status=delivery.last_status,
        )

    async def _keep(self) -> None:
        """Put off that others get what is held here."""
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            for ended in list(self._held.values()):
                try:
                    await self._ended.keep(ended)
                except BrokerUnavailableError:
                    break  # until the connection is back; then it may come twice

    async def _finish(self) -> None:
        """Let POSTs come to their end for a while, then break them off; what waits for its turn is handed back."""
        self._closing = True
        if self._held:
            await asyncio.wait(list(self._held), timeout=self._grace_s)
        for task in list(self._held):
            try:
                await end_task(task)
            except Exception as error:  # noqa: BLE001 - told; the others are to be ended all the same
                _log.error("webhook.fault", exc_info=error)
