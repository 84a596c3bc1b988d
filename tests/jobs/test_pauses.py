"""Pausing an endpoint: nothing of it starts, what runs goes on, and everybody knows at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from jobs.broker import Broker
from jobs.drain import Remaining, draining
from jobs.pauses import ALL_PRIORITIES, PauseDirectory, list_pauses, pause, resume
from jobs.record_pb2 import State
from jobs.streams import ensure_streams
from jobs.subjects import RequestKey
from tests.brokers import NatsServers
from tests.jobs.requests import Request, output_named
from tests.jobs.worker_run import WorkerRun, work_off
from tests.waiting import until


@pytest_asyncio.fixture
async def directory(broker: Broker) -> AsyncIterator[PauseDirectory]:
    async with PauseDirectory(broker) as running:
        yield running


async def test_a_running_directory_learns_of_pauses_and_resumptions(
    broker: Broker, directory: PauseDirectory, endpoint: str
) -> None:
    async with asyncio.timeout(5):  # at one comparison with the stream a second, this would take longer
        for _ in range(5):
            await pause(broker, endpoint)
            await until(lambda: all(directory.paused(endpoint, priority) for priority in ALL_PRIORITIES))
            await resume(broker, endpoint)
            await until(lambda: not any(directory.paused(endpoint, priority) for priority in ALL_PRIORITIES))


async def test_a_pause_is_known_to_those_who_come_later_and_outlives_the_broker(
    own_nats: NatsServers, endpoint: str
) -> None:
    async with WorkerRun(own_nats.settings()) as first:
        broker = first.broker
        await ensure_streams(broker)
        await pause(broker, endpoint)
        await own_nats.kill_and_await_restart()
    async with WorkerRun(own_nats.settings()) as second, PauseDirectory(second.broker) as directory:
        assert directory.paused(endpoint, PRIORITY_NORMAL)
        assert not directory.paused(f"{endpoint}/other", PRIORITY_NORMAL)


async def test_pausing_twice_keeps_the_first_time_and_one_priority_leaves_the_other(
    broker: Broker, endpoint: str
) -> None:
    await pause(broker, endpoint, [PRIORITY_LOW])
    before = [found for found in await list_pauses(broker) if found.endpoint == endpoint]
    await pause(broker, endpoint)
    after = [found for found in await list_pauses(broker) if found.endpoint == endpoint]
    assert [found.priority for found in before] == [PRIORITY_LOW]
    assert [found.priority for found in after] == [PRIORITY_NORMAL, PRIORITY_LOW]
    assert after[1] == before[0]
    await resume(broker, endpoint, [PRIORITY_LOW])
    assert [found.priority for found in await list_pauses(broker) if found.endpoint == endpoint] == [PRIORITY_NORMAL]
    await resume(broker, endpoint)
    assert not [found for found in await list_pauses(broker) if found.endpoint == endpoint]


async def test_a_worker_leaves_paused_requests_alone_and_takes_them_when_they_are_resumed(
    broker: Broker, nats: NatsServers, endpoint: str, directory: PauseDirectory
) -> None:
    other = f"{endpoint}/other"
    taken: list[RequestKey] = []
    await pause(broker, endpoint)
    await until(lambda: directory.paused(endpoint, PRIORITY_LOW))
    async with WorkerRun(nats.settings(), endpoint, other, paused=directory.paused) as worker:
        directory.on_change = worker.deliveries.wake
        working = asyncio.create_task(work_off(worker, taken))
        waiting = [await Request.submit(broker, endpoint=endpoint) for _ in range(3)]
        free = [await Request.submit(broker, endpoint=other) for _ in range(3)]
        await until(lambda: len(taken) == len(free))
        assert {request.key for request in free} == set(taken)
        assert {(await request.current()).state for request in waiting} == {State.STATE_QUEUED}
        await resume(broker, endpoint)
        await until(lambda: len(taken) == len(free) + len(waiting))
        assert taken[len(free) :] == [request.key for request in waiting]  # in their order
        worker.deliveries.close()
        await working


async def test_a_resumed_request_starts_at_once(
    broker: Broker, nats: NatsServers, endpoint: str, directory: PauseDirectory
) -> None:
    taken: list[RequestKey] = []
    async with WorkerRun(nats.settings(), endpoint, paused=directory.paused) as worker:
        directory.on_change = worker.deliveries.wake
        working = asyncio.create_task(work_off(worker, taken))
        async with asyncio.timeout(8):  # twenty looks at one a second would take 20 s
            for number in range(20):
                await pause(broker, endpoint)
                await until(lambda: directory.paused(endpoint, PRIORITY_NORMAL))
                await Request.submit(broker, endpoint=endpoint)
                await resume(broker, endpoint)
                await until(lambda: len(taken) == number + 1)  # noqa: B023 - waited for before it changes
        worker.deliveries.close()
        await working


async def test_a_drain_waits_for_what_runs_and_then_until_it_is_quiet(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    for _ in range(2):
        await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        leases = [await worker.take(), await worker.take()]
        await pause(broker, endpoint)
        waiting = await Request.submit(broker, endpoint=endpoint)
        seen: list[Remaining] = []
        async for remaining in draining(broker, endpoint, ALL_PRIORITIES, settled_s=1):
            seen.append(remaining)
            if leases:
                lease = leases.pop()
                await lease.complete(output_named("video.mp4"))
                await worker.put_down(lease)
    assert [remaining.running for remaining in seen][:3] == [2, 1, 0]
    assert seen[-1] == Remaining(0, 0)
    assert (await waiting.current()).state == State.STATE_QUEUED


async def test_a_drain_does_not_wait_for_a_worker_that_is_gone(
    broker: Broker, nats: NatsServers, endpoint: str
) -> None:
    await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint) as worker:
        await worker.take()
        await worker.die()
        await pause(broker, endpoint)
        async with asyncio.timeout(30):
            left = draining(broker, endpoint, ALL_PRIORITIES, silence_s=1, settled_s=0)
            seen = [remaining async for remaining in left]
    assert seen[0] == Remaining(running=1, abandoned=0)  # silence is not death at once
    assert seen[-1] == Remaining(running=0, abandoned=1)


async def test_what_is_looked_at_again_waits_if_it_was_paused_meanwhile(
    broker: Broker, nats: NatsServers, endpoint: str, directory: PauseDirectory
) -> None:
    request = await Request.submit(broker, endpoint=endpoint)
    async with WorkerRun(nats.settings(), endpoint, paused=directory.paused) as worker:
        delivery = await worker.deliveries.next()
        assert delivery is not None
        await pause(broker, endpoint)
        await until(lambda: directory.paused(endpoint, PRIORITY_NORMAL))
        await worker.deliveries.bring_again(delivery)
        taking = asyncio.create_task(worker.take())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # there is nothing to wait for but that nothing happens
                await asyncio.shield(taking)
        directory.on_change = worker.deliveries.wake
        await resume(broker, endpoint)
        assert (await taking).key == request.key
