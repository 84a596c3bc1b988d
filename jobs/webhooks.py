"""The queue's side of webhooks: which requests have ended, handed out to one replica at a time, and how far each is.

One durable consumer gives each terminal state to one replica of the service. What is not delivered is handed back with
a delay, and any replica may get it next. How often it was tried is kept beside the states of the request, at
`req.<tenant>.<id>.wh`: the broker counts its own hand-outs, which a restart of it or of a replica adds to.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import WebhookDelivery

from jobs.broker import REQUEST_TIMEOUT_S, UNREACHABLE, Broker
from jobs.deliveries import hand_back, keep_delivery
from jobs.errors import BrokerUnavailableError
from jobs.publisher import publish_webhook
from jobs.record_pb2 import Record, Webhook
from jobs.states import TERMINAL
from jobs.subjects import REQ, WEBHOOKS_CONSUMER, RequestKey, parse_request, webhook_subject

PULL_LASTS_S = 5.0

_NOTHING_NOW = frozenset({"404", "408"})


def wanted(record: Record) -> bool:
    """Whether a request has a webhook."""
    return record.submission.HasField("webhook_url")


def delivery_id(record: Record) -> str:
    """What all tries to tell of a terminal state carry; of one alone, also where a request is submitted anew."""
    return f"msg_{record.write_id.hex()}"


def first_word(record: Record) -> WebhookDelivery | None:
    """A delivery that has not been tried; None where none was asked for."""
    if not wanted(record):
        return None
    return WebhookDelivery(delivery_id=delivery_id(record) if record.state in TERMINAL else "")


async def read_delivery(broker: Broker, record: Record) -> WebhookDelivery | None:
    """How far the delivery of a request's webhook is; None where none was asked for.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    if not wanted(record) or record.state not in TERMINAL:
        return first_word(record)
    stored = await broker.last(REQ, webhook_subject(RequestKey(record.tenant, record.request_id)))
    delivery = Webhook.FromString(stored.data).delivery if stored is not None else WebhookDelivery()
    # Otherwise there is none yet, or it is of a request that was erased since.
    return delivery if delivery.delivery_id == delivery_id(record) else first_word(record)


@dataclass(frozen=True, slots=True)
class Ended:
    """One hand-out of a terminal state: the request, the sequence of the state, and where it is answered for."""

    key: RequestKey
    seq: int
    record: Record
    reply: str


class EndedRequests:
    """The requests that have ended, as the durable consumer hands them out."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def pull(self, most: int) -> AsyncGenerator[Ended, None]:
        """Up to `most` of them, as they come; it ends after 5 s.

        Raises:
            BrokerUnavailableError: the broker does not answer, or the consumer is not there.
        """
        nc = self._broker.nc
        inbox = nc.new_inbox()
        body = {"batch": most, "expires": int(PULL_LASTS_S * 1e9)}
        try:
            subscription = await nc.subscribe(inbox)
            try:
                subject = f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.{WEBHOOKS_CONSUMER}"
                await nc.publish(subject, json.dumps(body).encode(), reply=inbox)
                for _ in range(most):
                    async with self._broker.heeding_denials(subject):
                        message = await subscription.next_msg(timeout=PULL_LASTS_S + REQUEST_TIMEOUT_S)
                    if not message.reply:
                        status = (message.headers or {}).get("Status", "")
                        if status not in _NOTHING_NOW:
                            raise BrokerUnavailableError(f"the consumer of webhooks answered {status}")
                        return
                    record = Record.FromString(message.data)
                    seq = message.metadata.sequence.stream
                    yield Ended(parse_request(message.subject), seq, record, message.reply)
            finally:
                if not nc.is_closed:
                    await subscription.unsubscribe()
        except UNREACHABLE as error:
            raise BrokerUnavailableError(str(error) or type(error).__name__) from error

    async def read(self, ended: Ended) -> tuple[int, WebhookDelivery]:
        """How far the delivery is, and the sequence that a next word of it must follow.

        Raises:
            BrokerUnavailableError: the broker does not answer.
        """
        stored = await self._broker.last(REQ, webhook_subject(ended.key))
        webhook = Webhook.FromString(stored.data) if stored is not None else Webhook()
        if stored is None or webhook.ended_seq != ended.seq:
            return ended.seq, WebhookDelivery(delivery_id=delivery_id(ended.record))
        return stored.seq, webhook.delivery

    async def write(self, ended: Ended, delivery: WebhookDelivery, *, expected_seq: int) -> bool:
        """Keep how far the delivery is; False if the request was erased meanwhile, or somebody else wrote.

        Raises:
            QueueFullError: the stream takes no more.
            BrokerUnavailableError: the broker did not decide in time.
        """
        webhook = Webhook(ended_seq=ended.seq, delivery=delivery)
        return await publish_webhook(self._broker, ended.key, webhook, expected_seq=expected_seq) is not None

    async def done(self, ended: Ended) -> None:
        """Answer that there is nothing more to do.

        Raises:
            BrokerUnavailableError: the broker does not answer; it is handed out again then.
        """
        await self._broker.request(ended.reply, b"+ACK")

    async def keep(self, ended: Ended) -> None:
        """Say that it is being worked on, which puts off that another replica gets it.

        Raises:
            BrokerUnavailableError: the connection is closed.
        """
        await keep_delivery(self._broker, ended.reply)

    async def again(self, ended: Ended, *, delay_s: float) -> None:
        """Give it back: any replica gets it after the delay.

        Raises:
            BrokerUnavailableError: the connection is closed; it is handed out again after its ack wait.
        """
        await hand_back(self._broker, ended.reply, delay_s=max(0.0, delay_s))
