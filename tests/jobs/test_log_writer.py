"""Writing steps and lines: in order, numbered, without holding anybody up."""

from __future__ import annotations

import pytest
from cogreel.v1.queue_pb2 import LOG_LEVEL_INFO, LOG_LEVEL_WARN, STAGE_DENOISE, Progress

from jobs import log_writer
from jobs.broker import Broker
from jobs.log_writer import LONGEST_LINE, LogWriter
from jobs.record_pb2 import LogEntry
from jobs.streams import ensure_streams
from jobs.subjects import LOG, log_subject
from tests.brokers import NatsServers
from tests.jobs.link import Link
from tests.jobs.requests import Request
from tests.waiting import until


async def entries_of(broker: Broker, request: Request) -> list[tuple[int, LogEntry]]:
    last = await broker.last(LOG, log_subject(request.key))
    stored = await broker.read(LOG, 1, log_subject(request.key), anchor=last.seq) if last is not None else []
    return [(found.seq, LogEntry.FromString(found.data)) for found in stored]


async def numbers_of(broker: Broker, request: Request) -> list[int]:
    return [entry.number for _, entry in await entries_of(broker, request)]


def writer_of(broker: Broker, request: Request) -> LogWriter:
    record = request.record
    return LogWriter(broker, request.key, record.attempt, last_seq=record.log_seq, write_id=record.write_id.hex())


async def test_steps_and_lines_are_stored_in_order_with_their_attempt(broker: Broker) -> None:
    request = await Request.submit(broker)
    await request.claim()
    async with request.writer() as writer:
        writer.line("begins", LOG_LEVEL_INFO)
        for step in range(1, 4):
            writer.progress(Progress(stage=STAGE_DENOISE, step=step, total=3))
        writer.line("slow", LOG_LEVEL_WARN)
        last_seq = await writer.flush()
    stored = await entries_of(broker, request)
    assert stored[-1][0] == last_seq
    entries = [entry for _, entry in stored]
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert {entry.attempt for entry in entries} == {1}
    assert {entry.progress.attempt or entry.line.attempt for entry in entries} == {1}
    assert [entry.progress.step for entry in entries[1:4]] == [1, 2, 3]
    assert (entries[0].line.message, entries[0].line.level) == ("begins", LOG_LEVEL_INFO)
    assert (entries[4].line.message, entries[4].line.level) == ("slow", LOG_LEVEL_WARN)


async def test_a_long_line_is_cut(broker: Broker) -> None:
    request = await Request.submit(broker)
    await request.claim()
    await request.write_lines(["ü" * (LONGEST_LINE + 1)])
    ((_, entry),) = await entries_of(broker, request)
    assert entry.line.message == "ü" * LONGEST_LINE


async def test_without_a_line_of_its_own_an_attempt_names_the_line_before_it(broker: Broker) -> None:
    request = await Request.submit(broker)
    await request.claim()
    last_seq = await request.write_lines(["of the first attempt"])
    await request.claim(log_seq=last_seq)
    async with request.writer() as writer:
        assert await writer.flush() == last_seq


async def test_an_outage_holds_nobody_up_and_costs_no_line(broker: Broker, nats: NatsServers) -> None:
    request = await Request.submit(broker)
    await request.claim()
    link = Link(nats.settings())
    async with (
        link.open(),
        Broker(link.settings) as behind_link,
        writer_of(behind_link, request) as writer,
    ):
        link.cut()
        for number in range(50):
            writer.line(f"{number}", LOG_LEVEL_INFO)
        await until(lambda: not behind_link.connected)
        link.mend()
        await writer.flush()
    assert await numbers_of(broker, request) == list(range(1, 51))


async def test_in_a_long_outage_the_oldest_lines_go_and_the_gap_shows(
    broker: Broker, nats: NatsServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "BUFFERED_ENTRIES", 5)
    request = await Request.submit(broker)
    await request.claim()
    link = Link(nats.settings())
    async with (
        link.open(),
        Broker(link.settings) as behind_link,
        writer_of(behind_link, request) as writer,
    ):
        writer.line("before", LOG_LEVEL_INFO)
        await writer.flush()
        link.cut()
        await until(lambda: not behind_link.connected)
        writer.line("under way", LOG_LEVEL_INFO)
        await until(lambda: behind_link.nc.pending_data_size > 0)
        for number in range(20):
            writer.line(f"{number}", LOG_LEVEL_INFO)
        link.mend()
        await writer.flush()
    assert await numbers_of(broker, request) == [1, 2, 18, 19, 20, 21, 22]


async def test_a_line_that_the_log_refuses_does_not_hold_up_the_request(
    own_nats: NatsServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "GIVE_UP_AFTER_REFUSALS", 2)
    async with Broker(own_nats.settings()) as broker:
        await ensure_streams(broker)
        config = (await broker.api(f"STREAM.INFO.{LOG}", {}))["config"]
        assert isinstance(config, dict)
        await broker.api(f"STREAM.UPDATE.{LOG}", config | {"max_msg_size": 500})
        request = await Request.submit(broker)
        await request.claim()
        last_seq = await request.write_lines(["short", "long" * 200, "short again"])
        assert await numbers_of(broker, request) == [1, 3]
        assert (await entries_of(broker, request))[-1][0] == last_seq
