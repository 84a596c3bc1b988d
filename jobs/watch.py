"""Reading a request's events: from the streams what is past, from the view what comes.

A late watcher registers with the view first, then asks the leader for the last state and the last entry of its
request, and reads the streams until it has seen both: from there on the feed is complete. A watcher whose feed
overflows is simply late again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

from jobs import cursor
from jobs.broker import Broker
from jobs.cursor import Place
from jobs.errors import CursorExpiredError, ReplicaBehindError, RequestNotFoundError, ShuttingDownError
from jobs.merge import EntryEvent, Event, EventMerge, StateEvent, TruncatedEvent
from jobs.publisher import read_record
from jobs.record_pb2 import LogEntry
from jobs.states import WAITING
from jobs.subjects import LOG, REQ, RequestKey, log_subject, states_filter
from jobs.view import Feed, LiveView

BEHIND_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class PositionEvent:
    """A new place in the queue."""

    place: Place
    position: int


@dataclass(frozen=True, slots=True)
class CheckpointEvent:
    """Nothing was missed up to here."""

    place: Place


async def read_history(broker: Broker, key: RequestKey, merge: EventMerge) -> int:
    """Push all states and entries of a request from the merge's place on.

    Returns the LOG sequence up to which all entries that still exist have been pushed.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        CursorExpiredError: the state at the merge's place is gone.
        ReplicaBehindError: the leader's last state is older than the merge's place.
        BrokerUnavailableError: the broker does not answer.
    """
    start = merge.place
    last = await broker.last(REQ, states_filter(key))
    if last is None:
        raise RequestNotFoundError(key.request_id)
    if last.seq < start.req_seq:
        raise ReplicaBehindError(f"state {start.req_seq} has not arrived here")
    last_entry = await broker.last(LOG, log_subject(key))
    for stored in await broker.read(REQ, start.req_seq, states_filter(key), anchor=last.seq):
        merge.push_state(stored.seq, read_record(stored))
    if start.req_seq and merge.current is None:
        raise CursorExpiredError("the state that this cursor points at is gone")
    # What the state names was stored before it: if it cannot be read, it is gone.
    log_seq = max(last_entry.seq if last_entry is not None else 0, read_record(last).log_seq)
    for stored in await broker.read(LOG, start.log_seq + 1, log_subject(key), anchor=log_seq):
        merge.push_entry(stored.seq, LogEntry.FromString(stored.data))
    return log_seq


async def read_entries(broker: Broker, key: RequestKey) -> list[EntryEvent | TruncatedEvent]:
    """All steps and lines of a request so far, in the order in which a watcher gets them.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        BrokerUnavailableError: the broker does not answer.
    """
    merge = EventMerge(Place())
    log_seq = await read_history(broker, key, merge)
    return [event for event in merge.ready(log_seq) if isinstance(event, EntryEvent | TruncatedEvent)]


async def watch(
    view: LiveView, key: RequestKey, *, cursor_text: str | None, checkpoint_s: float
) -> AsyncIterator[Event | PositionEvent | CheckpointEvent]:
    """Every event of a request after the cursor, until its terminal state.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        CursorInvalidError, CursorExpiredError: the cursor is of no use here.
        ReplicaBehindError: the broker stays behind the cursor for 2 s.
        ShuttingDownError: this replica is going away.
        BrokerUnavailableError: the broker does not answer.
    """
    place = Place()
    if cursor_text is not None:
        place = cursor.decode(cursor_text, request_id=key.request_id, stream_created=view.stream_created)
    finished = False
    while not finished:
        merge = EventMerge(place)
        with view.register(key) as feed:
            log_seq = await _history_within(view.broker, key, merge)
            async for event in _follow(view, key, merge, feed, history_seq=log_seq, checkpoint_s=checkpoint_s):
                yield event
        view.late_watchers += feed.overflowed
        place = merge.place
        finished = merge.finished


async def _history_within(broker: Broker, key: RequestKey, merge: EventMerge) -> int:
    deadline = asyncio.get_running_loop().time() + BEHIND_WAIT_S
    while True:
        try:
            return await read_history(broker, key, merge)
        except (ReplicaBehindError, RequestNotFoundError) as error:
            if isinstance(error, RequestNotFoundError) and broker.settings.replicas == 1:
                raise
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(0.05)


def _spread(checkpoint_s: float) -> float:
    """A little less than asked: thousands who began together need not be told together that nothing happened."""
    return checkpoint_s * random.uniform(0.75, 1.0)  # noqa: S311 - jitter


def _take_in(feed: Feed, merge: EventMerge) -> None:
    feed.woken.clear()
    while feed.states:
        merge.push_state(*feed.states.popleft())
    while feed.entries:
        merge.push_entry(*feed.entries.popleft())


async def _follow(
    view: LiveView, key: RequestKey, merge: EventMerge, feed: Feed, *, history_seq: int, checkpoint_s: float
) -> AsyncIterator[Event | PositionEvent | CheckpointEvent]:
    position: int | None = None
    loop = asyncio.get_running_loop()
    quiet_until = loop.time() + _spread(checkpoint_s)
    while True:
        _take_in(feed, merge)
        # A feed that overflowed lacks something: nothing after what it holds may be taken for complete.
        log_position = history_seq if feed.overflowed else max(history_seq, view.log_position)
        for event in merge.ready(log_position):
            if isinstance(event, StateEvent) and event.record.state in WAITING:
                position = view.projection.position(key)  # which the caller is told with the state
            yield event
            quiet_until = loop.time() + _spread(checkpoint_s)
        if merge.finished or feed.overflowed:
            return
        if view.closing.is_set():
            raise ShuttingDownError("this replica is going away")
        moved_to = view.projection.position(key)
        if moved_to is not None and moved_to != position:
            yield PositionEvent(merge.place, moved_to)
            quiet_until = loop.time() + _spread(checkpoint_s)
        position = moved_to
        try:
            async with asyncio.timeout_at(quiet_until):
                await feed.woken.wait()
        except TimeoutError:
            yield CheckpointEvent(merge.place)
            quiet_until = loop.time() + _spread(checkpoint_s)
