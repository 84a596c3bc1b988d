"""The queue's side of webhooks: each end is handed to one, and what is kept of a delivery goes with its request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from cogreel.v1.queue_pb2 import WebhookDelivery

from jobs.broker import Broker
from jobs.erasure import erase
from jobs.publisher import publish_transition
from jobs.streams import ensure_webhooks_consumer
from jobs.subjects import REQ, RequestKey, everything_filter
from jobs.webhooks import Ended, EndedRequests, read_delivery
from tests.jobs.requests import Request, new_request


@pytest_asyncio.fixture
async def hand_outs(broker: Broker) -> AsyncIterator[EndedRequests]:
    await ensure_webhooks_consumer(broker)
    yield EndedRequests(broker)


async def ended_request(broker: Broker) -> Request:
    """A completed request with a webhook."""
    record = new_request()
    record.submission.webhook_url = "https://example.org/hook"
    request = Request(broker, record, 0)
    await request.move_to(record)
    await request.claim()
    await request.complete()
    return request


async def taken(hand_outs: EndedRequests, key: RequestKey) -> Ended:
    """The next hand-out of a request; those of other tests are answered for."""
    async with asyncio.timeout(10):
        while True:
            async for ended in hand_outs.pull(1):
                if ended.key == key:
                    return ended
                await hand_outs.done(ended)


async def test_an_end_is_handed_to_one_of_two_replicas(broker: Broker, hand_outs: EndedRequests) -> None:
    keys = {(await ended_request(broker)).key for _ in range(20)}
    got: list[RequestKey] = []

    async def replica() -> None:
        hand_out = EndedRequests(broker)
        while not keys <= set(got):
            async for ended in hand_out.pull(3):
                got.append(ended.key)
                await hand_out.done(ended)
                if keys <= set(got):
                    return

    replicas = [asyncio.create_task(replica()) for _ in range(2)]
    async with asyncio.timeout(20):
        await asyncio.wait(replicas)
    assert sorted(key for key in got if key in keys) == sorted(keys)


async def test_what_is_handed_back_comes_again_with_what_is_known_of_it(
    broker: Broker, hand_outs: EndedRequests
) -> None:
    request = await ended_request(broker)
    first = await taken(hand_outs, request.key)
    seq, delivery = await hand_outs.read(first)
    assert (seq, delivery.attempts) == (request.seq, 0)
    delivery.attempts = 1
    assert await hand_outs.write(first, delivery, expected_seq=seq)
    await hand_outs.again(first, delay_s=0.1)
    second = await taken(hand_outs, request.key)
    assert (await hand_outs.read(second))[1] == delivery
    assert await read_delivery(broker, second.record) == delivery


async def test_of_two_words_on_the_same_try_one_counts(broker: Broker, hand_outs: EndedRequests) -> None:
    request = await ended_request(broker)
    ended = await taken(hand_outs, request.key)
    seq, delivery = await hand_outs.read(ended)
    words = [WebhookDelivery(delivery_id=delivery.delivery_id, attempts=1, last_status=200 + n) for n in range(5)]
    kept = await asyncio.gather(*(hand_outs.write(ended, word, expected_seq=seq) for word in words))
    assert sum(kept) == 1
    assert (await hand_outs.read(ended))[1] == words[kept.index(True)]
    assert await hand_outs.write(ended, words[kept.index(True)], expected_seq=seq)  # a repetition of one's own


async def test_nothing_of_an_erased_request_comes_back(broker: Broker, hand_outs: EndedRequests) -> None:
    request = await ended_request(broker)
    ended = await taken(hand_outs, request.key)
    seq, delivery = await hand_outs.read(ended)
    delivery.attempts = 1
    assert await hand_outs.write(ended, delivery, expected_seq=seq)
    seq, _ = await hand_outs.read(ended)
    await erase(broker, request.key, until_seq=request.seq, until_log_seq=0)
    assert await broker.last(REQ, everything_filter(request.key)) is None
    for expected_seq in (seq, request.seq):
        assert not await hand_outs.write(ended, delivery, expected_seq=expected_seq)
    assert await broker.last(REQ, everything_filter(request.key)) is None


async def test_erasing_leaves_the_webhook_of_the_request_that_was_submitted_anew(
    broker: Broker, hand_outs: EndedRequests
) -> None:
    first = await ended_request(broker)
    await erase(broker, first.key, until_seq=first.seq, until_log_seq=0)
    anew = Request(broker, new_request(), 0)
    anew.record.tenant, anew.record.request_id = first.record.tenant, first.record.request_id
    anew.record.submission.webhook_url = "https://example.org/hook"
    await publish_transition(broker, anew.record, expected_seq=0)
    anew.record, anew.seq = await anew.current(), await last_seq(broker, first.key)
    await anew.claim()
    await anew.complete()
    ended = await taken(hand_outs, anew.key)
    seq, delivery = await hand_outs.read(ended)
    assert await hand_outs.write(ended, delivery, expected_seq=seq)
    await erase(broker, first.key, until_seq=first.seq, until_log_seq=0)  # by a replica that is late
    assert await read_delivery(broker, ended.record) == delivery
    assert (await hand_outs.read(ended))[0] > seq


async def last_seq(broker: Broker, key: RequestKey) -> int:
    stored = await broker.last(REQ, everything_filter(key))
    assert stored is not None
    return stored.seq
