"""How workers take over from those that are gone, and from no others."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC

import pytest
from cogreel.v1.queue_pb2 import FAILURE_REASON_LEASE_LOST

from inference.supervisor import Supervisor
from jobs import dispatch, states, streams
from jobs.broker import Broker
from jobs.deliveries import hand_back
from jobs.dispatch import SILENCE_S
from jobs.record_pb2 import Record, State
from jobs.subjects import control_subject
from tests.brokers import NatsServers
from tests.jobs.link import Link
from tests.jobs.requests import Request, output_named
from tests.jobs.worker_run import WorkerRun, bury, unanswered, work_off
from tests.waiting import seen, until


def started_s(record: Record) -> float:
    return record.started_time.ToDatetime(UTC).timestamp()


async def test_a_dead_workers_request_is_taken_over_at_once_when_its_supervisor_says_so(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with Supervisor(broker) as supervisor, WorkerRun(nats.settings(), endpoint) as second:
        async with WorkerRun(nats.settings(), endpoint) as first:
            lease = await first.take()
            await first.die()
        await bury(supervisor, first, lease)
        taken = await second.take(within_s=SILENCE_S / 2)
        assert taken.key == request.key
        running = await request.current()
        assert (running.attempt, running.worker.incarnation) == (2, second.incarnation)
        (lost,) = running.failed_attempts
        assert (lost.reason, lost.attempt) == (FAILURE_REASON_LEASE_LOST, 1)
        assert await taken.complete(output_named("second.mp4"))


async def test_a_silent_workers_request_is_taken_over_after_ten_seconds(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ACK_WAIT_S", 2.0)
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as second:
        async with WorkerRun(nats.settings(), endpoint) as first:
            await first.take()
            await first.die()
            died_at = time.time()
        taken = await second.take(within_s=30)
        assert taken.key == request.key
        assert taken.record.attempt == 2
        silence_s = started_s(taken.record) - died_at
        assert SILENCE_S <= silence_s <= SILENCE_S + 2 + 5  # the ack wait, and some time to notice
        assert await taken.complete(output_named("second.mp4"))


async def test_a_worker_that_says_mine_keeps_its_request(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as first, WorkerRun(nats.settings(), endpoint) as second:
        lease = await first.take()
        waiting = asyncio.create_task(work_off(second, []))
        await first.deliveries.hand_back(lease.delivery)  # as a broker that delivers again too early
        await until(lambda: first.asked > 0)
        second.deliveries.close()
        await waiting
        running = await request.current()
        assert (running.state, running.attempt) == (State.STATE_RUNNING, 1)
        assert running.worker.incarnation == first.incarnation
        assert not lease.lost.is_set()
        assert await lease.complete(output_named("video.mp4"))


async def test_a_worker_serves_others_while_it_waits_for_a_silent_one(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SILENCE_S", 3.0)
    abandoned = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as second:
        async with WorkerRun(nats.settings(), endpoint) as first:
            lease = await first.take()
            await first.die()
        later = [await Request.submit(broker, endpoint=endpoint) for _ in range(2)]
        await hand_back(broker, lease.delivery.reply)
        for request in later:
            taken = await second.take()
            assert taken.key == request.key
            assert await taken.complete(output_named("later.mp4"))
        assert (await abandoned.current()).attempt == 1
        taken = await second.take()
        assert (taken.key, taken.record.attempt) == (abandoned.key, 2)


async def test_a_holder_that_speaks_again_while_others_are_busy_keeps_its_request(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SILENCE_S", 2.5)
    request = await Request.submit(broker, endpoint=endpoint)
    link = Link(nats.settings())
    async with (
        link.open(),
        WorkerRun(link.settings, endpoint) as first,
        WorkerRun(nats.settings(), endpoint) as second,
    ):
        lease = await first.take()
        questions = await broker.nc.subscribe(control_subject(first.incarnation))
        link.cut()
        taking = asyncio.create_task(second.take())
        await hand_back(broker, lease.delivery.reply)
        await questions.next_msg(timeout=10)
        later = await Request.submit(broker, endpoint=endpoint)
        busy = await taking
        assert busy.key == later.key
        back_at = time.monotonic() + 2 * dispatch.SILENCE_S
        await until(lambda: time.monotonic() >= back_at)
        link.mend()
        await until(lambda: first.broker.connected)
        assert await busy.complete(output_named("later.mp4"))
        await second.put_down(busy)
        waiting = asyncio.create_task(work_off(second, []))
        await until(lambda: first.asked > 0)
        second.deliveries.close()
        await waiting
        running = await request.current()
        assert (running.attempt, running.worker.incarnation) == (1, first.incarnation)
        assert await lease.complete(output_named("video.mp4"))


async def test_what_a_closing_worker_waits_for_is_handed_back(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SILENCE_S", 2.5)
    abandoned = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as first:
        lease = await first.take()
        await first.die()
    async with WorkerRun(nats.settings(), endpoint) as second:
        questions = await broker.nc.subscribe(control_subject(first.incarnation))
        waiting = asyncio.create_task(work_off(second, []))
        await hand_back(broker, lease.delivery.reply)
        await questions.next_msg(timeout=10)
        second.deliveries.close()
        await waiting
    async with WorkerRun(nats.settings(), endpoint) as third:
        assert (await third.take(within_s=streams.ACK_WAIT_S / 2)).key == abandoned.key


async def test_a_worker_is_not_taken_for_silent_while_nobody_could_be_asked(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SILENCE_S", 2.0)
    monkeypatch.setattr(streams, "ACK_WAIT_S", 3.0)
    request = await Request.submit(broker, endpoint=endpoint)
    link, other_link = Link(nats.settings()), Link(nats.settings())
    async with (
        link.open(),
        other_link.open(),
        WorkerRun(link.settings, endpoint) as first,
        WorkerRun(other_link.settings, endpoint) as second,
    ):
        lease = await first.take()
        questions = await broker.nc.subscribe(control_subject(first.incarnation))
        link.cut()
        waiting = asyncio.create_task(work_off(second, []))
        await hand_back(broker, lease.delivery.reply)
        await questions.next_msg(timeout=10)
        other_link.cut()
        back_at = time.monotonic() + 1.5 * dispatch.SILENCE_S
        await until(lambda: time.monotonic() >= back_at)  # an outage that outlasts the silence
        link.mend()
        other_link.mend()
        await until(lambda: first.asked > 0)
        second.deliveries.close()
        await waiting
        assert (await request.current()).worker.incarnation == first.incarnation
        assert await lease.complete(output_named("video.mp4"))


async def test_a_request_whose_attempts_are_used_up_fails_with_the_reason_of_each(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint, max_attempts=2)
    async with Supervisor(broker) as supervisor:
        names = []
        for _ in range(2):
            async with WorkerRun(nats.settings(), endpoint) as worker:
                names.append(f"worker {worker.incarnation}")
                lease = await worker.take()
                await worker.die()
            await bury(supervisor, worker, lease)
        async with WorkerRun(nats.settings(), endpoint) as last:
            waiting = asyncio.create_task(work_off(last, []))
            ended = await seen(request.current, lambda record: record.state in states.TERMINAL)
            await seen(lambda: unanswered(broker, endpoint), lambda count: count == 0)
            last.deliveries.close()
            await waiting
    assert ended.state == State.STATE_FAILED
    assert ended.failure.reason == FAILURE_REASON_LEASE_LOST
    reasons = [(failed.attempt, failed.reason) for failed in ended.failed_attempts]
    assert reasons == [(1, FAILURE_REASON_LEASE_LOST), (2, FAILURE_REASON_LEASE_LOST)]
    for name, failed in zip(names, ended.failed_attempts, strict=True):
        assert name in failed.message
