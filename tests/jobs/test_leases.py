"""What a worker may do with a request that it runs: keep it, end it, hand it back, lose it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import cast

import pytest
from cogreel.v1.queue_pb2 import (
    FAILURE_REASON_DEVICE,
    PRIORITY_NORMAL,
    Failure,
)
from nats.aio.msg import Msg

from inference.supervisor import Supervisor
from jobs import dispatch, states, streams
from jobs.broker import Broker
from jobs.control import tell_cancelled
from jobs.dispatch import FIRST_BACKOFF_S, SILENCE_S
from jobs.lease import Lease
from jobs.record_pb2 import Record, State
from jobs.streams import ensure_consumers
from jobs.subjects import REQ, consumer_name
from tests.brokers import NatsServers
from tests.jobs.requests import Request, output_named
from tests.jobs.worker_run import WorkerRun, bury, unanswered, work_off
from tests.waiting import until


async def redelivered(broker: Broker, endpoint: str) -> int:
    """How many of the messages that are out were handed out more than once."""
    info = await broker.api(f"CONSUMER.INFO.{REQ}.{consumer_name(endpoint, PRIORITY_NORMAL)}", {})
    return cast("int", info["num_redelivered"])


def device_failure(lease: Lease) -> Failure:
    return Failure(reason=FAILURE_REASON_DEVICE, message="out of memory", attempt=lease.record.attempt)


def started_s(record: Record) -> float:
    return record.started_time.ToDatetime(UTC).timestamp()


async def test_a_worker_that_lost_its_lease_cannot_write(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with Supervisor(broker) as supervisor, WorkerRun(nats.settings(), endpoint) as second:
        async with WorkerRun(nats.settings(), endpoint, obeys=False) as zombie:
            old = await zombie.take()
            await bury(supervisor, zombie, old)
            new = await second.take()
            assert new.key == old.key
            assert not await old.complete(output_named("zombie.mp4"))
            assert old.lost.is_set()
            assert (await request.current()).worker.incarnation == second.incarnation
        assert await new.complete(output_named("second.mp4"))
    done = await request.current()
    assert (done.state, done.attempt, done.output) == (State.STATE_COMPLETED, 2, output_named("second.mp4"))


@pytest.mark.parametrize("way", ["complete", "fail", "release"])
async def test_nothing_that_a_worker_does_undoes_a_cancellation(
    broker: Broker, nats: NatsServers, endpoint: str, way: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint, obeys=False) as worker:
        lease = await worker.take()
        request.record, request.seq = lease.record, lease.seq
        await request.move_to(states.cancelled(lease.record, log_seq=0, now=datetime.now(UTC)))
        match way:
            case "complete":
                assert not await lease.complete(output_named("video.mp4"))
            case "fail":
                assert not await lease.fail(device_failure(lease))
            case "release":
                assert not await lease.release()
        await worker.put_down(lease)
        assert await unanswered(broker, endpoint) == 0
    assert (await request.current()).state == State.STATE_CANCELLED


async def test_the_last_failure_worth_a_retry_ends_the_request(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint, max_attempts=2)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        for _ in range(2):
            lease = await worker.take()
            assert await lease.release(device_failure(lease))
            await worker.put_down(lease)
        assert await unanswered(broker, endpoint) == 0
    ended = await request.current()
    assert ended.state == State.STATE_FAILED
    assert [failed.reason for failed in ended.failed_attempts] == [FAILURE_REASON_DEVICE] * 2
    assert [failed.attempt for failed in ended.failed_attempts] == [1, 2]


async def test_a_drained_request_goes_out_before_newer_ones_and_has_lost_no_attempt(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    drained = await Request.submit(broker, endpoint=endpoint, max_attempts=1)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        lease = await worker.take()
        newer = await Request.submit(broker, endpoint=endpoint)
        assert await lease.release()
    released = await drained.current()
    assert (released.state, released.queued_seq) == (State.STATE_RELEASED, drained.seq)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        again = await worker.take()
        assert again.key == drained.key
        assert again.record.attempt == 2
        assert not again.record.failed_attempts
        assert (await worker.take()).key == newer.key


async def test_a_drain_waits_out_no_pause_of_an_earlier_failure(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        lease = await worker.take()
        assert await lease.release(device_failure(lease))
        await worker.put_down(lease)
        monkeypatch.setattr(dispatch, "FIRST_BACKOFF_S", 3600.0)
        monkeypatch.setattr(dispatch, "LONGEST_BACKOFF_S", 3600.0)
        drained = await worker.take()
        assert await drained.release()
        await worker.put_down(drained)
        again = await worker.take()
    assert (again.key, again.record.attempt, len(again.record.failed_attempts)) == (request.key, 3, 1)


async def test_a_failed_attempt_is_repeated_after_a_pause_in_which_others_go_first(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    failing = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        lease = await worker.take()
        newer = await Request.submit(broker, endpoint=endpoint)
        assert await lease.release(device_failure(lease))
        released_at = time.time()
        await worker.put_down(lease)
        assert (await worker.take()).key == newer.key
        again = await worker.take()
        assert again.key == failing.key
        assert [failed.reason for failed in again.record.failed_attempts] == [FAILURE_REASON_DEVICE]
        pause_s = started_s(again.record) - released_at
        assert FIRST_BACKOFF_S * 0.9 <= pause_s <= FIRST_BACKOFF_S + 5


async def test_a_request_that_its_worker_dropped_by_a_fault_is_handed_back(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    async def work_with_a_fault() -> None:
        async with faulty.dispatcher.next():
            raise RuntimeError("a fault of the program")

    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as faulty:
        with pytest.raises(RuntimeError, match="a fault of the program"):
            await work_with_a_fault()
        again = await faulty.take(within_s=SILENCE_S)
        assert again.key == request.key
        assert again.record.attempt == 2


async def test_heartbeats_keep_a_request_beyond_the_ack_wait(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ACK_WAIT_S", 1.0)
    monkeypatch.setattr(dispatch, "HEARTBEAT_S", 0.2)
    beats = 0

    async def on_beat(message: Msg) -> None:
        nonlocal beats
        beats += message.data == b"+WPI"

    request = await Request.submit(broker, endpoint=endpoint)
    await ensure_consumers(broker, [endpoint])
    async with WorkerRun(nats.settings(), endpoint) as first, WorkerRun(nats.settings(), endpoint) as second:
        lease = await first.take()
        subscription = await broker.nc.subscribe(lease.delivery.reply, cb=on_beat)
        waiting = asyncio.create_task(work_off(second, []))
        await until(lambda: beats >= 12)  # more than twice the ack wait
        await subscription.unsubscribe()
        assert await redelivered(broker, endpoint) == 0
        assert first.asked == 0
        second.deliveries.close()
        await waiting
        assert await lease.complete(output_named("video.mp4"))
    assert (await request.current()).attempt == 1


async def test_a_cancellation_reaches_the_worker_at_once(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    first, second = [await Request.submit(broker, endpoint=endpoint) for _ in range(2)]
    async with WorkerRun(nats.settings(), endpoint) as worker:
        cancelled, other = await worker.take(), await worker.take()
        assert (cancelled.key, other.key) == (first.key, second.key)
        await tell_cancelled(broker, worker.incarnation, first.key)
        async with asyncio.timeout(dispatch.HEARTBEAT_S / 2):
            await cancelled.lost.wait()
        assert not other.lost.is_set()


async def test_a_worker_that_missed_the_cancellation_learns_of_it_by_its_heartbeat(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "HEARTBEAT_S", 0.05)
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint, obeys=False) as worker:
        lease = await worker.take()
        request.record, request.seq = lease.record, lease.seq
        await request.move_to(states.cancelled(lease.record, log_seq=0, now=datetime.now(UTC)))
        async with asyncio.timeout(10):
            await lease.lost.wait()
        await worker.put_down(lease)
        assert await unanswered(broker, endpoint) == 0
