"""Watching: every event once and in order, for early, late, slow and resuming watchers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import PRIORITY_LOW

from jobs import cursor
from jobs.broker import Broker
from jobs.errors import CursorExpiredError, ReplicaBehindError, RequestNotFoundError, ShuttingDownError
from jobs.merge import StateEvent
from jobs.streams import ensure_streams
from jobs.subjects import LOG, REQ, RequestKey, log_subject, states_filter
from jobs.view import FEED_EVENTS
from jobs.watch import CheckpointEvent, PositionEvent, read_entries, watch
from tests.brokers import NatsServers
from tests.jobs.replica import Replica, lines, next_state, replica_on, told, write
from tests.jobs.requests import Request
from tests.waiting import until


@pytest_asyncio.fixture
async def replica(nats: NatsServers) -> AsyncIterator[Replica]:
    async with replica_on(nats.settings()) as running:
        yield running


async def test_a_watcher_follows_a_request_through_two_attempts(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    watching = asyncio.create_task(replica.watched(request))
    await until(lambda: replica.view.watchers == 1)
    await request.claim()
    await request.release(log_seq=await request.write_lines(["a", "b"]))
    await request.claim(log_seq=request.record.log_seq)
    await request.complete(log_seq=await request.write_lines(["c"]))
    expected = ["QUEUED 0", "RUNNING 1", "a", "b", "QUEUED 1", "RUNNING 2", "c", "COMPLETED 2"]
    assert await watching == expected
    assert await replica.watched(request) == expected
    assert replica.view.watchers == 0


async def test_a_watcher_who_does_not_read_for_a_while_loses_nothing(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    stream = replica.watch(request)
    events = [await anext(stream)]
    await request.claim()
    many = 3 * FEED_EVENTS
    first = await request.write_lines(lines(many))
    await until(lambda: replica.view.log_position >= first)
    events += [await anext(stream) for _ in range(10)]
    await request.complete(log_seq=first)
    events += [event async for event in stream]
    assert told(events) == ["QUEUED 0", "RUNNING 1", *lines(many), "COMPLETED 1"]


async def test_a_watcher_may_fall_behind_again_and_again(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    stream = replica.watch(request)
    events = [await anext(stream)]
    await request.claim()
    burst = FEED_EVENTS + 50
    async with request.writer() as writer:
        for turn in range(4):
            write(writer, lines(burst, first=turn * burst + 1))
            last = await writer.flush()
            await until(lambda: replica.view.log_position >= last)  # noqa: B023 - waited for before it changes
            wanted = f"line {turn * burst + burst // 2}"
            while told(events[-1:]) != [wanted]:
                events.append(await anext(stream))
        await request.complete(log_seq=await writer.flush())
    events += [event async for event in stream]
    assert told(events) == ["QUEUED 0", "RUNNING 1", *lines(4 * burst), "COMPLETED 1"]


async def test_watchers_who_come_during_a_burst_see_each_event_once(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    await request.claim()
    expected = ["QUEUED 0", "RUNNING 1", *lines(800), "COMPLETED 1"]
    async with asyncio.TaskGroup() as group, request.writer() as writer:
        watching = []
        for start in range(1, 801, 40):
            write(writer, lines(40, first=start))
            await until(lambda: writer.last_seq > 0)
            watching += [group.create_task(replica.watched(request)) for _ in range(2)]
        await request.complete(log_seq=await writer.flush())
    for task in watching:
        assert task.result() == expected


async def test_a_watcher_resumes_from_every_event_at_another_replica(
    broker: Broker, replica: Replica, nats: NatsServers
) -> None:
    request = await Request.submit(broker)
    await request.claim()
    await request.release(log_seq=await request.write_lines(lines(3)))
    await request.claim(log_seq=request.record.log_seq)
    await request.complete(log_seq=await request.write_lines(lines(3)))
    events = [event async for event in replica.watch(request)]
    async with replica_on(nats.settings()) as other:
        for index, event in enumerate(events):
            assert await other.watched(request, after=event) == told(events[index + 1 :])


async def test_a_watch_survives_the_death_of_the_broker(broker: Broker, nats: NatsServers, replica: Replica) -> None:
    request = await Request.submit(broker)
    watching = asyncio.create_task(replica.watched(request))
    await until(lambda: replica.view.watchers == 1)
    await request.claim()
    async with request.writer() as writer:
        write(writer, lines(100))
        await until(lambda: writer.last_seq > 0)
        await nats.kill()
        write(writer, lines(100, first=101))
        await request.complete(log_seq=await writer.flush())
    assert await watching == ["QUEUED 0", "RUNNING 1", *lines(200), "COMPLETED 1"]


async def test_a_terminal_state_waits_for_the_last_line_before_it(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    await request.claim()
    async with request.writer() as writer:
        write(writer, lines(50))
        watching = asyncio.create_task(replica.watched(request))
        await request.complete(log_seq=await writer.flush())
    assert (await watching)[-2:] == ["line 50", "COMPLETED 1"]


async def test_lines_that_have_expired_are_told_as_truncated_once(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    await request.claim()
    first = await request.write_lines(lines(5))
    await broker.api(f"STREAM.PURGE.{LOG}", {"filter": log_subject(request.key), "keep": 2})
    await request.complete(log_seq=first)
    expected = ["QUEUED 0", "RUNNING 1", "truncated 1", "line 4", "line 5", "COMPLETED 1"]
    events = [event async for event in replica.watch(request)]
    assert told(events) == expected
    for index, event in enumerate(events):
        assert await replica.watched(request, after=event) == expected[index + 1 :]


async def test_a_request_whose_lines_have_all_expired_still_comes_to_its_end(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    await request.claim()
    await request.complete(log_seq=await request.write_lines(lines(5)))
    await broker.api(f"STREAM.PURGE.{LOG}", {"filter": log_subject(request.key)})
    assert await replica.watched(request) == ["QUEUED 0", "RUNNING 1", "truncated 1", "COMPLETED 1"]
    assert told(list(await read_entries(broker, request.key))) == ["truncated 1"]


async def test_the_whole_log_may_be_lost_without_stopping_a_watcher(own_nats: NatsServers) -> None:
    """As when LOG, which is kept with fewer copies or on a smaller disk, had to be made anew."""
    async with Broker(own_nats.settings()) as broker:
        await ensure_streams(broker)
        request = await Request.submit(broker)
        await request.claim()
        await request.complete(log_seq=await request.write_lines(lines(5)))
        await broker.api(f"STREAM.DELETE.{LOG}", {})
    async with replica_on(own_nats.settings()) as replica:
        assert await replica.watched(request) == ["QUEUED 0", "RUNNING 1", "truncated 1", "COMPLETED 1"]


async def test_what_a_stopped_worker_still_writes_is_not_told_to_late_watchers(
    broker: Broker, replica: Replica
) -> None:
    request = await Request.submit(broker)
    await request.claim()
    async with request.writer() as stopped:
        write(stopped, lines(2))
        await request.claim(incarnation="successor", log_seq=await stopped.flush())
        write(stopped, ["too late"])
        await stopped.flush()
    await request.complete(log_seq=await request.write_lines(["mine"]))
    assert await replica.watched(request) == [
        *("QUEUED 0", "RUNNING 1", "line 1", "line 2"),
        *("RUNNING 2", "mine", "COMPLETED 2"),
    ]


async def test_closing_the_view_sends_its_watchers_elsewhere(broker: Broker, nats: NatsServers) -> None:
    request = await Request.submit(broker)
    async with replica_on(nats.settings()) as closing, replica_on(nats.settings()) as staying:
        streams = [closing.watch(request) for _ in range(20)]
        first = [await anext(stream) for stream in streams]
        waiting = [asyncio.create_task(next_state(stream, "COMPLETED")) for stream in streams]
        await until(lambda: closing.view.watchers == 20)
        closing.view.close()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, ShuttingDownError)
        await request.claim()
        await request.complete()
        assert await staying.watched(request, after=first[0]) == ["RUNNING 1", "COMPLETED 1"]


async def test_a_closing_view_still_tells_what_is_over(broker: Broker, nats: NatsServers) -> None:
    request = await Request.submit(broker)
    await request.claim()
    await request.complete()
    async with replica_on(nats.settings()) as closing:
        closing.view.close()
        assert await closing.watched(request) == ["QUEUED 0", "RUNNING 1", "COMPLETED 1"]


async def test_a_cursor_of_a_stream_that_was_made_anew_has_expired(own_nats: NatsServers) -> None:
    async with replica_on(own_nats.settings()) as before:
        request = await Request.submit(before.broker)
        async with aclosing(before.watch(request)) as stream:
            text = cursor.encode(
                (await anext(stream)).place,
                request_id=request.key.request_id,
                stream_created=before.view.stream_created,
            )
    async with Broker(own_nats.settings()) as broker:
        await broker.api(f"STREAM.DELETE.{REQ}", {})
    async with replica_on(own_nats.settings()) as after:
        with pytest.raises(CursorExpiredError):
            await anext(watch(after.view, request.key, cursor_text=text, checkpoint_s=30))


async def test_a_cursor_whose_state_was_erased_has_expired(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    async with aclosing(replica.watch(request)) as stream:
        first = await anext(stream)
    await request.claim()
    await broker.api(f"STREAM.PURGE.{REQ}", {"filter": states_filter(request.key), "keep": 1})
    with pytest.raises(CursorExpiredError):
        await replica.watched(request, after=first)


async def test_a_replica_behind_the_callers_cursor_says_so_after_a_while(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    ahead = StateEvent(cursor.Place(req_seq=request.seq + 1), request.record)
    with pytest.raises(ReplicaBehindError):
        await replica.watched(request, after=ahead)


async def test_a_request_of_another_tenant_is_not_found(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    foreign = RequestKey("another tenant", request.key.request_id)
    with pytest.raises(RequestNotFoundError):
        await anext(watch(replica.view, foreign, cursor_text=None, checkpoint_s=30))


async def test_a_waiting_watcher_is_told_each_new_place(broker: Broker, replica: Replica, endpoint: str) -> None:
    ahead = [await Request.submit(broker, endpoint=endpoint) for _ in range(3)]
    request = await Request.submit(broker, endpoint=endpoint, priority=PRIORITY_LOW)
    assert await replica.view.reached(request.seq)
    stream = replica.watch(request)
    assert told([await anext(stream)]) == ["QUEUED 0"]
    assert replica.view.projection.position(request.key) == 3
    places = []
    for gone in ahead:
        await gone.claim()
        event = await anext(stream)
        assert isinstance(event, PositionEvent)
        places.append(event.position)
    assert places == [2, 1, 0]
    await request.claim()
    event = await next_state(stream, "RUNNING")
    assert event.record.attempt == 1
    assert replica.view.projection.position(request.key) is None


async def test_a_quiet_watcher_gets_checkpoints_to_resume_from(broker: Broker, replica: Replica) -> None:
    request = await Request.submit(broker)
    async with aclosing(replica.watch(request, checkpoint_s=0.02)) as stream:
        await next_state(stream, "QUEUED")
        checkpoint = None
        while not isinstance(checkpoint, CheckpointEvent):
            checkpoint = await anext(stream)
    await request.claim()
    await request.complete()
    assert await replica.watched(request, after=checkpoint) == ["RUNNING 1", "COMPLETED 1"]


async def test_a_view_that_comes_late_knows_every_request(broker: Broker, nats: NatsServers, endpoint: str) -> None:
    waiting = [await Request.submit(broker, endpoint=endpoint) for _ in range(300)]
    await waiting[0].claim()
    await waiting[1].claim()
    await waiting[1].release()
    async with replica_on(nats.settings()) as late:
        projection = late.view.projection
        assert [projection.position(request.key) for request in waiting] == [None, *range(299)]
        assert late.view.caught_up
