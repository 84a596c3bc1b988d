"""A service replica's view in a test, and what its watchers are told, in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from cogreel.v1.queue_pb2 import LOG_LEVEL_INFO

from jobs import cursor
from jobs.broker import Broker, BrokerSettings
from jobs.log_writer import LogWriter
from jobs.merge import EntryEvent, Event, StateEvent, TruncatedEvent
from jobs.states import public_name
from jobs.streams import ensure_streams
from jobs.view import LiveView
from jobs.watch import CheckpointEvent, PositionEvent, watch
from tests.jobs.requests import Request

AnyEvent = Event | PositionEvent | CheckpointEvent


@dataclass
class Replica:
    """A service replica's view, with its own connection."""

    broker: Broker
    view: LiveView

    def watch(
        self, request: Request, *, after: AnyEvent | None = None, checkpoint_s: float = 30
    ) -> AsyncGenerator[AnyEvent, None]:
        text = None
        if after is not None:
            text = cursor.encode(
                after.place, request_id=request.key.request_id, stream_created=self.view.stream_created
            )
        stream = watch(self.view, request.key, cursor_text=text, checkpoint_s=checkpoint_s)
        assert isinstance(stream, AsyncGenerator)
        return stream

    async def watched(self, request: Request, *, after: AnyEvent | None = None) -> list[str]:
        """All that is told of a request until its end."""
        async with asyncio.timeout(30):
            return told([event async for event in self.watch(request, after=after)])


@asynccontextmanager
async def replica_on(settings: BrokerSettings) -> AsyncIterator[Replica]:
    async with Broker(replace(settings, name="replica")) as broker:
        await ensure_streams(broker)
        async with LiveView(broker) as view:
            yield Replica(broker, view)


def told(events: list[AnyEvent]) -> list[str]:
    """Events in words, without positions and checkpoints, which depend on the moment."""
    words = []
    for event in events:
        match event:
            case StateEvent(record=record):
                words.append(f"{public_name(record.state)} {record.attempt}")
            case EntryEvent(entry=entry):
                words.append(entry.line.message)
            case TruncatedEvent(attempt=attempt):
                words.append(f"truncated {attempt}")
    return words


def lines(count: int, *, first: int = 1) -> list[str]:
    return [f"line {number}" for number in range(first, first + count)]


def write(writer: LogWriter, messages: list[str]) -> None:
    for message in messages:
        writer.line(message, LOG_LEVEL_INFO)


async def next_state(stream: AsyncIterator[AnyEvent], state: str) -> StateEvent:
    async for event in stream:
        if isinstance(event, StateEvent) and public_name(event.record.state) == state:
            return event
    pytest.fail(f"the stream ended before {state}")
