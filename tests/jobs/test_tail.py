"""The tail: every message once and in order, whatever becomes of the live copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
from cogreel.v1.queue_pb2 import LOG_LEVEL_INFO

from jobs.broker import Broker, BrokerSettings, Stored
from jobs.errors import BrokerUnavailableError
from jobs.streams import ensure_streams, stream_state
from jobs.subjects import LIVE, LOG, REQ, log_subject
from jobs.tail import StreamTail
from tests.brokers import NatsServers
from tests.jobs.link import Link
from tests.jobs.requests import Request
from tests.waiting import until


@asynccontextmanager
async def connected(settings: BrokerSettings) -> AsyncIterator[Broker]:
    async with Broker(settings) as broker:
        yield broker


def tail_of(broker: Broker, applied: list[Stored], *, start_at_end: bool = False) -> StreamTail:
    return StreamTail(broker, LOG, f"{LIVE}log.>", applied.append, start_at_end=start_at_end)


async def everything(broker: Broker, *, after: int = 0) -> list[Stored]:
    """What the stream itself holds."""
    last_seq, _, _ = await stream_state(broker, LOG)
    return await broker.read(LOG, after + 1, ">", anchor=last_seq)


async def last_seq(broker: Broker) -> int:
    return (await stream_state(broker, LOG))[0]


async def erase(broker: Broker, request: Request) -> None:
    await broker.api(f"STREAM.PURGE.{LOG}", {"filter": log_subject(request.key)})


async def running_request(broker: Broker) -> Request:
    request = await Request.submit(broker)
    await request.claim()
    return request


async def test_a_tail_begins_with_what_was_stored_before_it(broker: Broker) -> None:
    request = await running_request(broker)
    await request.write_lines([f"{number}" for number in range(600)])  # more than one batch
    applied: list[Stored] = []
    async with tail_of(broker, applied) as tail:
        assert applied == await everything(broker)
        assert tail.position == applied[-1].seq
        assert tail.caught_up


async def test_a_tail_may_begin_at_the_end(broker: Broker) -> None:
    request = await running_request(broker)
    before = await request.write_lines(["old"])
    applied: list[Stored] = []
    async with tail_of(broker, applied, start_at_end=True) as tail:
        assert await tail.reached(before, timeout_s=0)
        last = await (await running_request(broker)).write_lines(["new", "newer"])
        assert await tail.reached(last, timeout_s=5)
        assert applied == await everything(broker, after=before)
        assert len(applied) == 2


async def test_a_message_is_seen_at_once_rather_than_at_the_next_comparison(broker: Broker) -> None:
    request = await running_request(broker)
    async with tail_of(broker, []) as tail, request.writer() as writer, asyncio.timeout(5):
        for _ in range(20):  # at one comparison a second this would take 20 s
            writer.line("one more", LOG_LEVEL_INFO)
            assert await tail.reached(await writer.flush(), timeout_s=5)


async def test_copies_that_were_lost_are_read_from_the_stream(broker: Broker, nats: NatsServers) -> None:
    link = Link(nats.settings())
    async with link.open(), connected(link.settings) as behind_link:
        applied: list[Stored] = []
        async with tail_of(behind_link, applied) as tail:
            link.cut()
            request = await running_request(broker)
            last = await request.write_lines([f"{number}" for number in range(300)])
            await until(lambda: not tail.caught_up)
            link.mend()
            assert await tail.reached(last, timeout_s=10)
            await until(lambda: tail.caught_up)
            assert applied == await everything(broker)


async def test_a_gap_shows_as_soon_as_a_later_copy_comes(broker: Broker, nats: NatsServers) -> None:
    link = Link(nats.settings())
    async with link.open(), connected(link.settings) as behind_link:
        applied: list[Stored] = []
        async with tail_of(behind_link, applied) as tail:
            link.cut()
            request = await running_request(broker)
            async with request.writer() as writer:
                writer.line("unheard", LOG_LEVEL_INFO)
                await writer.flush()
                link.mend()
                await until(lambda: behind_link.connected)
                writer.line("heard", LOG_LEVEL_INFO)
                assert await tail.reached(await writer.flush(), timeout_s=10)
            assert applied == await everything(broker)


async def test_nothing_is_missed_or_doubled_while_the_broker_is_killed_under_load(
    broker: Broker, nats: NatsServers
) -> None:
    applied: list[Stored] = []
    async with connected(nats.settings()) as listening, tail_of(listening, applied) as tail:
        start = tail.position
        requests = [await running_request(broker) for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            writing = [
                group.create_task(request.write_lines([f"{number}" for number in range(400)])) for request in requests
            ]
            await until(lambda: tail.position > start + 100)
            await nats.kill()
        last = max(task.result() for task in writing)
        assert await tail.reached(last, timeout_s=10)
        stored = await everything(broker)
        assert applied == stored
        for request in requests:
            mine = [found for found in applied if found.subject == log_subject(request.key)]
            assert len(mine) == 400


async def test_messages_that_were_erased_before_it_came_do_not_stall_a_tail(broker: Broker) -> None:
    kept, erased, later = [await running_request(broker) for _ in range(3)]
    await erased.write_lines(["goes"] * 300)
    await kept.write_lines(["stays"])
    gone = await running_request(broker)
    end = await gone.write_lines(["goes"])
    await erase(broker, erased)
    await erase(broker, gone)
    applied: list[Stored] = []
    async with tail_of(broker, applied) as tail:
        assert tail.position == end
        assert tail.caught_up
        assert applied == await everything(broker)
        last = await later.write_lines(["and goes on"])
        assert await tail.reached(last, timeout_s=5)
        assert applied == await everything(broker)


async def test_messages_that_were_erased_while_it_was_cut_off_do_not_stall_a_tail(
    broker: Broker, nats: NatsServers
) -> None:
    link = Link(nats.settings())
    async with link.open(), connected(link.settings) as behind_link:
        applied: list[Stored] = []
        async with tail_of(behind_link, applied) as tail:
            link.cut()
            kept, erased = await running_request(broker), await running_request(broker)
            await kept.write_lines(["stays"])
            await erased.write_lines(["goes"] * 10)
            await erase(broker, erased)
            link.mend()
            assert await tail.reached(await last_seq(broker), timeout_s=10)
            assert [found.seq for found in applied] == [found.seq for found in await everything(broker)]


async def test_waiting_for_what_does_not_come_ends(broker: Broker) -> None:
    request = await running_request(broker)
    async with tail_of(broker, []) as tail:
        following = tail.position + 1
        assert not await tail.reached(following, timeout_s=0.05)
        waiting = asyncio.create_task(tail.reached(following, timeout_s=10))
        await request.write_lines(["here it is"])
        assert await waiting
        assert await tail.reached(following, timeout_s=0)


async def test_a_tail_cannot_begin_without_its_stream(own_nats: NatsServers) -> None:
    async with connected(own_nats.settings()) as broker:
        await ensure_streams(broker)
        await own_nats.stop()
        with pytest.raises(BrokerUnavailableError):
            async with tail_of(broker, []):
                pass


async def test_a_tail_does_not_pass_for_current_once_its_stream_is_another(own_nats: NatsServers) -> None:
    async with connected(own_nats.settings()) as broker:
        await ensure_streams(broker)
        tail = StreamTail(broker, REQ, f"{LIVE}req.>", lambda _: None)
        await tail.__aenter__()
        assert tail.caught_up
        with structlog.testing.capture_logs() as logs:
            await broker.api(f"STREAM.DELETE.{REQ}", {})
            await ensure_streams(broker)
            await until(lambda: any(entry["event"] == "tail.ended" for entry in logs))
        assert not tail.caught_up
        assert tail.ended
        await tail.__aexit__(None, None, None)


async def test_a_tail_waits_for_a_stream_that_is_gone_for_a_moment(own_nats: NatsServers) -> None:
    """As after a restart, when a server may answer before it knows its streams."""
    async with connected(own_nats.settings()) as broker:
        await ensure_streams(broker)
        with structlog.testing.capture_logs() as logs:
            async with StreamTail(broker, REQ, f"{LIVE}req.>", lambda _: None) as tail:
                await broker.api(f"STREAM.DELETE.{REQ}", {})
                await until(lambda: not tail.caught_up)
        assert {entry["event"] for entry in logs} == {"tail.behind"}
