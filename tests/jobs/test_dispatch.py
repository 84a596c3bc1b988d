"""How workers take requests: each once, in order, and nothing that has ended."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from cogreel.v1.queue_pb2 import (
    LOG_LEVEL_INFO,
    PRIORITY_LOW,
    PRIORITY_NORMAL,
)

from inference.supervisor import Supervisor
from jobs import dispatch, states, streams
from jobs.broker import Broker
from jobs.publisher import Applied, Outcome, Undecided, publish_transition
from jobs.record_pb2 import Record, State
from jobs.subjects import RequestKey
from tests.brokers import NatsServers
from tests.jobs.requests import Request, output_named
from tests.jobs.worker_run import WorkerRun, bury, unanswered, work_off
from tests.waiting import seen, until


async def test_a_leased_request_runs_and_a_completed_one_leaves_the_queue(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        lease = await worker.take()
        assert lease.key == request.key
        running = await request.current()
        assert (running.state, running.attempt) == (State.STATE_RUNNING, 1)
        assert (running.worker.incarnation, running.queued_seq) == (worker.incarnation, request.seq)
        lease.log.line("nearly there", LOG_LEVEL_INFO)
        assert await lease.complete(output_named("video.mp4"))
        await worker.put_down(lease)
        assert await unanswered(broker, endpoint) == 0
    done = await request.current()
    assert done.state == State.STATE_COMPLETED
    assert done.output == output_named("video.mp4")
    assert done.log_seq == lease.log.last_seq > 0


async def test_a_waiting_worker_is_woken_by_a_new_request(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    taken: list[RequestKey] = []
    async with WorkerRun(nats.settings(), endpoint) as worker:
        working = asyncio.create_task(work_off(worker, taken))
        async with asyncio.timeout(10):  # twenty looks at one a second would take 20 s
            for number in range(20):
                await Request.submit(broker, endpoint=endpoint)
                await until(lambda: len(taken) == number + 1)  # noqa: B023 - waited for before it changes
        worker.deliveries.close()
        await working


async def test_normal_requests_go_before_low_ones_and_endpoints_take_turns(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    other = f"{endpoint}/other"
    submitted = {}
    for name, where, priority in (
        ("low 1", endpoint, PRIORITY_LOW),
        ("low 2", endpoint, PRIORITY_LOW),
        ("one 1", endpoint, PRIORITY_NORMAL),
        ("one 2", endpoint, PRIORITY_NORMAL),
        ("one 3", endpoint, PRIORITY_NORMAL),
        ("other 1", other, PRIORITY_NORMAL),
        ("other 2", other, PRIORITY_NORMAL),
    ):
        request = await Request.submit(broker, endpoint=where, priority=priority)
        submitted[request.key] = name
    async with WorkerRun(nats.settings(), endpoint, other) as worker:
        names = []
        for _ in submitted:
            lease = await worker.take()
            names.append(submitted[lease.key])
            await lease.complete(output_named("video.mp4"))
    assert names == ["one 1", "other 1", "one 2", "other 2", "one 3", "low 1", "low 2"]


async def test_many_workers_share_the_queue_and_run_each_request_once(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    requests = [await Request.submit(broker, endpoint=endpoint) for _ in range(60)]
    taken: list[RequestKey] = []
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(WorkerRun(nats.settings(), endpoint)) for _ in range(5)]
        working = [asyncio.create_task(work_off(worker, taken)) for worker in workers]
        await seen(lambda: unanswered(broker, endpoint), lambda count: count == 0)
        for worker in workers:
            worker.deliveries.close()
        await asyncio.gather(*working)
    assert sorted(taken) == sorted(request.key for request in requests)
    assert {(await request.current()).attempt for request in requests} == {1}


async def test_a_closed_worker_takes_nothing_more(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    async with WorkerRun(nats.settings(), endpoint) as worker:
        waiting = asyncio.create_task(work_off(worker, []))
        worker.deliveries.close()
        await waiting
        request = await Request.submit(broker, endpoint=endpoint)
        await work_off(worker, [])
    assert (await request.current()).state == State.STATE_QUEUED


async def test_a_request_that_was_cancelled_in_the_queue_never_runs(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    await request.move_to(states.cancelled(request.record, log_seq=0, now=datetime.now(UTC)))
    following = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        assert (await worker.take()).key == following.key
        assert await unanswered(broker, endpoint) == 1  # the one that runs
    assert (await request.current()).state == State.STATE_CANCELLED


async def test_a_delivery_of_a_finished_request_is_dropped(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with (
        Supervisor(broker) as supervisor,
        WorkerRun(nats.settings(), endpoint) as first,
        WorkerRun(nats.settings(), endpoint) as second,
    ):
        lease = await first.take()
        assert await lease.complete(output_named("first.mp4"))
        await first.die()  # before it could acknowledge
        await bury(supervisor, first, lease)
        following = await Request.submit(broker, endpoint=endpoint)
        assert (await second.take()).key == following.key
        assert await unanswered(broker, endpoint) == 1  # the one that runs
    done = await request.current()
    assert (done.state, done.attempt, done.output) == (State.STATE_COMPLETED, 1, output_named("first.mp4"))


async def test_finished_requests_do_not_run_again_when_the_broker_forgets_acknowledgements(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ACK_WAIT_S", 1.0)
    requests = [await Request.submit(broker, endpoint=endpoint) for _ in range(30)]
    taken: list[RequestKey] = []
    async with WorkerRun(nats.settings(), endpoint) as worker:
        working = asyncio.create_task(work_off(worker, taken))
        await until(lambda: len(taken) == 30)
        await nats.kill_and_await_restart()
        following = await Request.submit(broker, endpoint=endpoint)
        await until(lambda: following.key in taken)
        await seen(lambda: unanswered(broker, endpoint), lambda count: count == 0)
        worker.deliveries.close()
        await working
    assert len(taken) == 31
    assert {(await request.current()).attempt for request in requests} == {1}


async def test_a_claim_whose_acknowledgement_is_lost_costs_no_attempt(
    broker: Broker, nats: NatsServers, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []

    async def the_first_answer_is_lost(to: Broker, record: Record, *, expected_seq: int) -> Outcome:
        outcomes.append(await publish_transition(to, record, expected_seq=expected_seq))
        return outcomes[-1] if len(outcomes) > 1 else Undecided("no answer within the time")

    monkeypatch.setattr(dispatch, "publish_transition", the_first_answer_is_lost)
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        lease = await worker.take()
        assert outcomes[0] == outcomes[1] == Applied(lease.seq)
        assert await lease.complete(output_named("video.mp4"))
    done = await request.current()
    assert (done.attempt, list(done.failed_attempts)) == (1, [])


async def test_a_running_request_outlives_the_death_of_the_broker(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as first, WorkerRun(nats.settings(), endpoint) as second:
        lease = await first.take()
        waiting = asyncio.create_task(work_off(second, []))
        await nats.kill_and_await_restart()
        assert await lease.complete(output_named("video.mp4"))
        second.deliveries.close()
        await waiting
    done = await request.current()
    assert (done.state, done.attempt) == (State.STATE_COMPLETED, 1)
